"""Surprise is of what was forecast from the context alone, and costs no more than it must."""

import numpy as np
import pytest
import torch

from eval.blind import frame_gram, motion_energy, pixel_copy, pixel_extrapolation, trajectory
from eval.forecasting import FORECASTERS, outlooks
from eval.whitening import ErrorMoments, Whitening, load_moments, save_moments
from eval.windows import Window, WindowPlan, frames_of
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.predictor import PredictorConfig
from worldmodel.window import WindowConfig


def world_model(f: int = 1, side: int = 1):
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(
            patch_px=8, width=16, heads=2, latent_dim=6, head_width=16, places_per_side=side, frames_per_latent=f
        ),
        predictor=PredictorConfig(width=24, depth=1, heads=2, horizons=4),
        rollout_steps=0,
    )
    model = build_model(config, WindowConfig(frames=12, fps=12, size_px=16))
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.3)
    return model.eval()


class Apart:
    """A model that promises nothing about its latents, and counts how often its encoder is called."""

    def __init__(self, model):
        self.model, self.calls = model, 0
        for name in ("fps", "frames_per_latent", "max_context", "max_steps", "size_px", "target_scope"):
            setattr(self, name, getattr(model, name))

    def normalise(self, frames):
        return self.model.normalise(frames)

    def encode(self, frames):
        self.calls += 1
        return self.model.encode(frames)

    def forecast(self, context, steps):
        self.calls += 1
        return self.model.forecast(context, steps)


def films(count: int = 3, frames: int = 14) -> torch.Tensor:
    return torch.randint(0, 256, (count, frames, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


PLAN = WindowPlan(fps=12, frames=10, stride=2, contexts=(2, 4, 6), horizon=3, frames_per_latent=1, max_context=12)


@pytest.mark.parametrize(("f", "side"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_sharing_latents_changes_no_number(f: int, side: int):
    model, plan = world_model(f, side), WindowPlan(12, 10, 1, (2, 4, 6), 3, f, 12)
    windows = [*plan.free(14), *filter(None, (plan.ending_at(cut, 14) for cut in range(3, 13)))]
    shared = {o.window: o for o in outlooks(model, films(), windows, FORECASTERS)}
    apart = {o.window: o for o in outlooks(Apart(model), films(), windows, FORECASTERS)}
    assert shared.keys() == apart.keys() == set(windows)
    for window, one in shared.items():
        torch.testing.assert_close(one.target, apart[window].target, rtol=1e-5, atol=1e-5)
        for name in FORECASTERS:
            torch.testing.assert_close(one.forecasts[name], apart[window].forecasts[name], rtol=1e-5, atol=1e-5)


def test_no_forecast_changes_when_the_future_does():
    model, before = world_model(), films()
    for window in PLAN.free(14):
        after = before.clone()
        after[:, window.cut :] = 255 - after[:, window.cut :]
        one, other = (next(iter(outlooks(model, frames, [window], FORECASTERS))) for frames in (before, after))
        for name in FORECASTERS:
            torch.testing.assert_close(one.forecasts[name], other.forecasts[name])
        assert not torch.allclose(one.target, other.target)


def test_a_target_is_encoded_once_for_all_contexts():
    """The released protocol encodes context and whole window anew for each of five lengths: ten calls a window."""
    model = Apart(world_model())
    plan = WindowPlan(12, 12, 2, (2, 4, 6, 8, 10), 4, 1, 12)
    windows = [Window("free", 0, context, min(4, 12 - context)) for context in plan.contexts]
    whole = [Window("free", 0, c, 2) for c in (10,)]
    list(outlooks(model, films(frames=12), windows, ("model",)))
    stops = {window.cut + window.steps for window in windows}
    assert model.calls == len(windows) + len(stops)  # a forecast each, and a target for each stretch of film
    model.calls = 0
    list(outlooks(model, films(frames=12), whole * 1, ("model",)))
    assert model.calls == 2


def test_pixel_scorers_are_the_squares_they_say():
    frames = films(1, 10)[0].numpy()
    wide, gram, window = frames.astype(float), frame_gram(frames), Window("free", 1, 3, 2)
    np.testing.assert_array_equal(pixel_copy(gram, window, 1), [((wide[t] - wide[3]) ** 2).sum() for t in (4, 5)])
    line = [((wide[3 + k] - (wide[3] + k * (wide[3] - wide[2]))) ** 2).sum() for k in (1, 2)]
    np.testing.assert_array_equal(pixel_extrapolation(gram, window, 1), line)
    np.testing.assert_array_equal(motion_energy(gram), [((wide[t] - wide[t - 1]) ** 2).sum() for t in range(1, 10)])


def test_a_straight_path_turns_nowhere_and_is_foreseen():
    path = np.arange(6.0)[:, None] * np.array([[3.0, 4.0]])
    found = trajectory(path)
    np.testing.assert_allclose(found["step"], 5)
    np.testing.assert_allclose(found["turning angle"], 0, atol=1e-6)
    np.testing.assert_allclose(found["acceleration"], 0, atol=1e-12)
    np.testing.assert_allclose(found["linear prediction"], 0, atol=1e-9)


def test_locked_windows_end_in_two_hidden_frames():
    # hidden frames 10..13 at the film's 24 frames/s; seen at 12 frames/s these are frames 5 and 6
    windows = WindowPlan(12, 10, 2, (4,), 3, 1, 12).locked((12, 15), 24.0, 12)
    assert [window.cut for window in windows] == [7]
    assert windows[0].start == 0


def test_windows_of_a_model_whose_context_and_forecast_share_a_window_fit_into_it():
    plan = WindowPlan(6, 16, 2, (2, 6, 10), 7, 2, 14, 16)
    (window,) = {plan.ending_at(20, 60)}
    assert (window.start, window.context, window.steps) == (12, 8, 4)  # half of it seen, half of it forecast
    assert (plan.ending_at(58, 60).context, plan.ending_at(58, 60).steps) == (14, 1)
    assert {(w.context, w.steps) for w in plan.free(60)} == {(2, 7), (6, 5), (10, 3)}  # the rest, as published


def test_seconds_and_frames():
    assert (frames_of("0.5s", 12), frames_of("8", 12)) == (6, 8)
    with pytest.raises(ValueError, match="neither"):
        frames_of("half", 12)


def test_whitened_surprise_is_one_on_lawful_films_and_finds_what_is_unusual(tmp_path):
    dice = torch.Generator().manual_seed(0)
    mix = torch.tensor([[3.0, 0.0], [2.4, 1.0]])  # errors lie along one direction
    errors = torch.randn(400, 1, 1, 2, generator=dice) @ mix.T
    moments = ErrorMoments.empty(1, 1, 2)
    moments.add([errors[:200]])
    rest = moments.like()
    rest.add([errors[200:]])
    moments.merge(rest)
    save_moments(tmp_path / "m.npz", {"model": moments})
    fit = Whitening.fit(load_moments(tmp_path / "m.npz")["model"])
    assert fit.films == 400
    assert float(fit.surprise(errors).mean()) == pytest.approx(1, abs=0.05)
    usual, unusual = torch.tensor([[[[3.0, 2.4]]]]), torch.tensor([[[[1.2, -1.2]]]])
    assert float(fit.surprise(unusual)) > 3 * float(fit.surprise(usual))  # though it is half as long
    assert float(fit.surprise_by_feature(unusual)) < float(fit.surprise_by_feature(usual))


def test_too_few_films_cannot_whiten():
    with pytest.raises(ValueError, match="too few"):
        Whitening.fit(ErrorMoments.empty(2, 1, 3))


def test_many_features_are_whitened_along_fewer_directions():
    errors = torch.randn(300, 1, 1, 600, generator=torch.Generator().manual_seed(0))
    moments = ErrorMoments.empty(1, 1, 600)
    moments.add([errors])
    assert moments.gram.shape == (1, 1, 256, 256)
    fit = Whitening.fit(moments)
    assert float(fit.surprise(errors).mean()) == pytest.approx(1, abs=0.1)
    assert float(fit.surprise(2 * errors).mean()) == pytest.approx(4, abs=0.4)


def test_places_that_share_a_covariance_are_added_up(monkeypatch):
    errors = torch.randn(6, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    apart = ErrorMoments.empty(2, 3, 4)
    apart.add([errors, errors[:, :1]])
    monkeypatch.setattr("eval.whitening.MOST_NUMBERS", 50)
    shared = ErrorMoments.empty(2, 3, 4)
    shared.add([errors, errors[:, :1]])
    np.testing.assert_allclose(shared.count, 3 * apart.count)
    np.testing.assert_allclose(shared.total[:, 0], apart.total.sum(1))
    np.testing.assert_allclose(shared.gram[:, 0], apart.gram.sum(1))
    assert Whitening.fit(shared).surprise(errors).shape == (6, 2, 3)
