"""Surprise of tensors equals that of the command on the same videos, whatever their frame rate, size and dtype."""

import copy

import numpy as np
import pytest
import torch

from eval.errors import EvalError
from eval.plausibility.sliding_windows import default_plan, mean_surprise, time_course, window_surprise
from eval.reward import model_frames, surprise_of
from eval.voe.surprise.whitening import ErrorMoments, Whitening
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.encoder import EncoderConfig


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
def videos() -> torch.Tensor:
    return torch.randint(0, 256, (3, 15, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_a_batch_gives_the_same_results_as_single_videos(model, videos):
    together = surprise_of(model, videos)
    assert together.surprise.shape == together.copy_relative_surprise.shape == (3,)
    assert together.over_time.shape == (3, len(together.times_s))
    for index in range(3):
        alone = surprise_of(model, videos[index : index + 1])
        torch.testing.assert_close(alone.surprise[0], together.surprise[index])
        torch.testing.assert_close(alone.over_time[0], together.over_time[index])


def test_both_model_families_work(masked_model, videos):
    found = surprise_of(masked_model, videos)
    assert found.surprise.isfinite().all()
    assert found.times_s[0] == pytest.approx(2 / 12)  # after one latent step


def test_surprise_equals_that_of_the_command(model, videos):
    plan = default_plan(model, 12)
    by_window = window_surprise(model, videos, plan, {"distance": model.distance})
    found = surprise_of(model, videos)
    np.testing.assert_allclose(found.surprise, mean_surprise(by_window.surprise["distance"]), rtol=1e-6)
    course = time_course(by_window.surprise["distance"], plan, 15)
    assert found.times_s.tolist() == pytest.approx([t / 12 for t in range(2, 14)])  # 15 frames: no window contains the last one
    np.testing.assert_allclose(found.over_time, course[:, 2:14], rtol=1e-6)


def test_a_video_without_motion_is_not_rewarded_relative_to_the_copy_baseline(model, videos):
    still = videos[:1, :1].expand(-1, 15, -1, -1, -1)
    copier = copy.deepcopy(model)
    torch.nn.init.zeros_(copier.predictor.head[-1].weight)  # an untrained predictor repeats the last latent
    both = surprise_of(copier, torch.cat([videos[:1], still]))
    assert both.surprise[1] < 1e-6 < both.surprise[0]
    assert both.copy_relative_surprise.tolist() == pytest.approx([0.5, 0.5], abs=1e-3)


def test_floats_from_0_to_1_equal_bytes(model, videos):
    torch.testing.assert_close(surprise_of(model, videos / 255).surprise, surprise_of(model, videos).surprise)
    assert not surprise_of(model, (videos / 255).requires_grad_()).surprise.requires_grad


def test_another_frame_rate_and_size_show_the_same_video(model, videos):
    twice = videos.repeat_interleave(2, 1)[:, :29]
    larger = twice.repeat_interleave(3, 2).repeat_interleave(2, 3)
    assert torch.equal(model_frames(larger, 24.0, 12.0, 16, "resize"), videos)
    torch.testing.assert_close(
        surprise_of(model, larger, fps=24, geometry="resize").surprise, surprise_of(model, videos).surprise
    )


def test_each_time_shows_the_last_frame_that_began():
    frames = torch.arange(7, dtype=torch.uint8)[None, :, None, None, None].expand(1, 7, 2, 2, 3)
    assert model_frames(frames, 10.0, 12.0, 2)[0, :, 0, 0, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 5]  # the last begins at 0.6 s
    assert model_frames(frames, 30.0, 10.0, 2)[0, :, 0, 0, 0].tolist() == [0, 3, 6]


def test_whitened_surprise_uses_the_given_fit(model, videos):
    plan = default_plan(model, 12)
    moments = ErrorMoments.empty(plan.horizon, 1, 6)
    moments.add([torch.randn(50, plan.horizon, 1, 6, generator=torch.Generator().manual_seed(2))])
    fit = Whitening.fit(moments)
    by_window = window_surprise(model, videos, plan, {"": lambda forecast, target: fit.surprise(forecast - target)})
    np.testing.assert_allclose(
        surprise_of(model, videos, whitening=fit).surprise, mean_surprise(by_window.surprise[""]), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("videos", "error", "message"),
    [
        (torch.zeros(1, 1, 16, 16, 3, dtype=torch.uint8), EvalError, "a window of 1 frames leaves nothing to forecast"),
        (torch.zeros(15, 16, 16, 3, dtype=torch.uint8), ValueError, "expected [B, T, H, W, 3]"),
        (torch.zeros(1, 15, 3, 16, 16, dtype=torch.uint8), ValueError, "expected [B, T, H, W, 3]"),
        (torch.full((1, 15, 16, 16, 3), 255.0), ValueError, "float from 255 to 255"),
        (torch.zeros(1, 15, 16, 16, 3, dtype=torch.int64), ValueError, "expected uint8, or float"),
    ],
)
def test_tensors_of_another_kind_give_an_error_of_one_line(model, videos, error, message):
    with pytest.raises(error) as caught:
        surprise_of(model, videos)
    assert message in str(caught.value)
