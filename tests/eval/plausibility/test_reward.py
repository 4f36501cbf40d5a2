"""Surprise of tensors: what the command says of the same films, whatever their rate, size and kind of number."""

import copy

import numpy as np
import pytest
import torch

from eval.errors import EvalError
from eval.plausibility.sliding_windows import mean_surprise, time_course, usual_plan, watch
from eval.reward import as_seen, surprise_of
from eval.voe.surprise.whitening import ErrorMoments, Whitening
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.predictor import PredictorConfig


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(patch_px=8, width=16, heads=2, latent_dim=6, head_width=16),
        predictor=PredictorConfig(width=24, depth=1, heads=2, horizons=4),
        rollout_steps=0,
    )
    model = build_model(config, WindowConfig(frames=12, fps=12, size_px=16))
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def films() -> torch.Tensor:
    return torch.randint(0, 256, (3, 15, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_a_batch_says_what_each_film_says_alone(model, films):
    together = surprise_of(model, films)
    assert together.surprise.shape == together.copy_share.shape == (3,)
    assert together.over_time.shape == (3, len(together.times_s))
    for index in range(3):
        alone = surprise_of(model, films[index : index + 1])
        torch.testing.assert_close(alone.surprise[0], together.surprise[index])
        torch.testing.assert_close(alone.over_time[0], together.over_time[index])


def test_any_family_is_asked(masked_model, films):
    found = surprise_of(masked_model, films)
    assert found.surprise.isfinite().all()
    assert found.times_s[0] == pytest.approx(2 / 12)  # after one latent step


def test_it_is_what_the_command_measures(model, films):
    plan = usual_plan(model, 12)
    seen = watch(model, films, plan, {"distance": model.distance})
    found = surprise_of(model, films)
    np.testing.assert_allclose(found.surprise, mean_surprise(seen.surprise["distance"]), rtol=1e-6)
    course = time_course(seen.surprise["distance"], plan, 15)
    assert found.times_s.tolist() == pytest.approx([t / 12 for t in range(2, 14)])  # 15 frames: the last ends no window
    np.testing.assert_allclose(found.over_time, course[:, 2:14], rtol=1e-6)


def test_a_film_at_rest_is_easy_and_earns_nothing_beside_copying(model, films):
    still = films[:1, :1].expand(-1, 15, -1, -1, -1)
    copier = copy.deepcopy(model)
    torch.nn.init.zeros_(copier.predictor.head[-1].weight)  # as it is born: it forecasts what it saw last
    both = surprise_of(copier, torch.cat([films[:1], still]))
    assert both.surprise[1] < 1e-6 < both.surprise[0]
    assert both.copy_share.tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


def test_floats_are_shares_of_white(model, films):
    torch.testing.assert_close(surprise_of(model, films / 255).surprise, surprise_of(model, films).surprise)
    assert not surprise_of(model, (films / 255).requires_grad_()).surprise.requires_grad


def test_another_rate_and_size_show_the_same_film(model, films):
    twice = films.repeat_interleave(2, 1)[:, :29]
    larger = twice.repeat_interleave(3, 2).repeat_interleave(2, 3)
    assert torch.equal(as_seen(larger, 24.0, 12.0, 16), films)
    torch.testing.assert_close(surprise_of(model, larger, fps=24).surprise, surprise_of(model, films).surprise)


def test_a_moment_shows_the_last_frame_that_began():
    frames = torch.arange(7, dtype=torch.uint8)[None, :, None, None, None].expand(1, 7, 2, 2, 3)
    assert as_seen(frames, 10.0, 12.0, 2)[0, :, 0, 0, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 5]  # the last begins at 0.6 s
    assert as_seen(frames, 30.0, 10.0, 2)[0, :, 0, 0, 0].tolist() == [0, 3, 6]


def test_whitened_surprise_is_of_the_fit_that_is_given(model, films):
    plan = usual_plan(model, 12)
    moments = ErrorMoments.empty(plan.horizon, 1, 6)
    moments.add([torch.randn(50, plan.horizon, 1, 6, generator=torch.Generator().manual_seed(2))])
    fit = Whitening.fit(moments)
    seen = watch(model, films, plan, {"": lambda forecast, target: fit.surprise(forecast - target)})
    np.testing.assert_allclose(surprise_of(model, films, whitening=fit).surprise, mean_surprise(seen.surprise[""]), rtol=1e-5)


@pytest.mark.parametrize(
    ("films", "error", "said"),
    [
        (torch.zeros(1, 1, 16, 16, 3, dtype=torch.uint8), EvalError, "a window of 1 frames leaves nothing to forecast"),
        (torch.zeros(15, 16, 16, 3, dtype=torch.uint8), ValueError, "expected [B, T, H, W, 3]"),
        (torch.zeros(1, 15, 3, 16, 16, dtype=torch.uint8), ValueError, "expected [B, T, H, W, 3]"),
        (torch.full((1, 15, 16, 16, 3), 255.0), ValueError, "float from 255 to 255"),
        (torch.zeros(1, 15, 16, 16, 3, dtype=torch.int64), ValueError, "expected uint8, or float"),
    ],
)
def test_films_of_another_kind_are_refused_in_a_line(model, films, error, said):
    with pytest.raises(error) as caught:
        surprise_of(model, films)
    assert said in str(caught.value)
