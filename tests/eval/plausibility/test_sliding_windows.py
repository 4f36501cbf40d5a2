"""Surprise in sliding windows: numbers computed by hand on a model whose forecasts are known."""

import numpy as np
import pytest
import torch

from eval.errors import EvalError
from eval.plausibility.sliding_windows import (
    copy_relative_surprise,
    default_plan,
    join_segments,
    load_surprise,
    mean_surprise,
    save_surprise,
    time_course,
    window_surprise,
)
from eval.voe.surprise.windows import WindowPlan

PLAN = WindowPlan(fps=10, frames=6, stride=2, contexts=(2, 4), horizon=3, tubelet_size=1, max_context=6)


class Drift:
    """A latent is the mean grey level of each half of the frame. The forecast is that both rise by 1 per frame."""

    fps, tubelet_size, max_context, max_horizon, size_px, target_scope = 10.0, 1, 6, 3, 4, "past"
    max_span = None

    def normalise(self, frames):
        return frames.permute(0, 1, 4, 2, 3).float()

    def encode(self, frames):
        return frames.unflatten(-1, (2, -1)).mean((2, 3, 5))[..., None]

    def forecast(self, context, steps):
        return self.encode(context)[:, -1:] + torch.arange(1.0, steps + 1)[:, None, None]

    def distance(self, forecast, target):
        return (forecast - target).square().mean(-1)


def video_of(left, right) -> torch.Tensor:
    """Halves of these greys over time: uint8 [1, T, 4, 4, 3]."""
    halves = torch.tensor([left, right], dtype=torch.uint8).T
    return halves[:, None, :, None].expand(-1, 4, 2, 2).flatten(2)[..., None].expand(-1, -1, -1, 3)[None].contiguous()


def evaluate(left, right, plan: WindowPlan = PLAN, by_token: bool = False):
    return window_surprise(Drift(), video_of(left, right), plan, {"distance": Drift().distance}, by_token).video(0)


def test_a_correct_forecast_does_not_surprise_and_the_copy_error_is_the_square_of_the_step():
    found = evaluate(range(10, 18), range(50, 58))
    assert found.surprise["distance"].shape == (
        2,
        2,
        3,
    )  # windows from frames 0 and 2; contexts 2 and 4; 3 steps, of which 2 remain
    missing = [[False] * 3, [False, False, True]]
    np.testing.assert_array_equal(np.isnan(found.surprise["distance"]), [missing, missing])
    np.testing.assert_allclose(found.surprise["distance"][:, 0], 0)
    np.testing.assert_allclose(found.copy_error["distance"][:, 0], [[1, 4, 9]] * 2)
    np.testing.assert_allclose(found.motion, np.ones((2, 5)))


def test_a_motionless_half_surprises_only_at_its_own_token():
    found = evaluate(range(10, 18), [50] * 8, by_token=True)
    np.testing.assert_allclose(found.surprise["distance"][:, 0], [[0.5, 2, 4.5]] * 2)  # half of 1, 4, 9
    assert found.motion[0, 0] == pytest.approx(0.5**0.5)
    # frame 2 is forecast once, by the first window; frame 4 by two contexts of it, and by the second window
    np.testing.assert_array_equal(found.window_counts, [0, 0, 1, 1, 3, 2, 2, 1])
    np.testing.assert_allclose(found.token_surprise["distance"][[2, 4]], [[0, 1], [0, 9 + 1 + 1]])


def test_joined_segments_equal_the_whole_video():
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 200, (2, 30)).tolist()
    whole = evaluate(left, right, by_token=True)
    segments = [evaluate(left[first : first + 10], right[first : first + 10], by_token=True) for first in (0, 6, 12, 18)]
    segments.append(evaluate(left[24:], right[24:], by_token=True))
    again = join_segments(segments, PLAN, windows_per_segment=3)
    np.testing.assert_array_equal(again.surprise["distance"], whole.surprise["distance"])
    np.testing.assert_array_equal(again.copy_error["distance"], whole.copy_error["distance"])
    np.testing.assert_array_equal(again.motion, whole.motion)
    np.testing.assert_array_equal(again.window_counts, whole.window_counts)
    np.testing.assert_allclose(again.token_surprise["distance"], whole.token_surprise["distance"])


def test_a_video_shorter_than_a_window_is_one_window():
    found = evaluate(range(5), range(5))
    np.testing.assert_array_equal(np.isfinite(found.surprise["distance"]), [[[True] * 3, [True, False, False]]])
    with pytest.raises(EvalError, match="the video has 2 frames at 10 frames/s; at least 3 are needed"):
        evaluate(range(2), range(2))


def test_missing_steps_count_neither_for_the_mean_nor_for_the_time_course():
    values = np.array([[[1.0, 3.0, np.nan], [np.nan] * 3], [[5.0, np.nan, np.nan], [9.0, 9.0, np.nan]]])
    assert mean_surprise(values) == pytest.approx((2 + 5 + 9) / 3)
    # windows from frames 0 and 2, contexts 2 and 4: frame 2 has 1, 3 has 3, 4 has 5, 6 and 7 have 9
    np.testing.assert_array_equal(time_course(values, PLAN, 9), [np.nan, np.nan, 1, 3, 5, np.nan, 9, 9, np.nan])


def test_a_video_without_any_error_is_no_better_than_the_copy_baseline():
    np.testing.assert_allclose(copy_relative_surprise(np.array([0.0, 1, 3, 2]), np.array([0.0, 3, 1, 0])), [0.5, 0.25, 0.75, 1])


def test_saved_results_are_loaded_unchanged(tmp_path):
    videos = [evaluate(range(10, 18), [50] * 8, by_token=True), "truncated: it ends early", evaluate(range(5), range(5))]
    save_surprise(tmp_path / "videos.npz", videos)
    again = load_surprise(tmp_path / "videos.npz")
    assert again[1] == videos[1]
    for one, other in ((videos[0], again[0]), (videos[2], again[2])):
        for name in ("motion", "window_counts"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        for name in ("surprise", "copy_error", "token_surprise"):
            assert getattr(one, name).keys() == getattr(other, name).keys()
            for key, array in getattr(one, name).items():
                np.testing.assert_array_equal(array, getattr(other, name)[key])


def test_shared_windows_are_no_longer_than_the_model_allows(masked_model):
    frames = torch.randint(0, 256, (1, 12, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for length in (8, 12):
        plan = default_plan(masked_model, length)
        assert max(window.context + 2 * window.steps for window in plan.sliding(12)) == 8
        assert plan.horizon == max(window.steps for window in plan.sliding(12))
        found = window_surprise(masked_model, frames, plan, {"distance": masked_model.distance})
        assert np.isfinite(found.surprise["distance"]).any((-2, -1)).all()


def test_the_default_plan_follows_the_model():
    model = Drift()
    plan = default_plan(model, 6)
    assert (plan.contexts, plan.horizon, plan.stride) == ((1, 2, 3, 4), 3, 2)
    model.tubelet_size, model.max_horizon = 4, 9
    plan = default_plan(model, 24)
    assert (plan.contexts, plan.horizon, plan.stride) == ((4,), 5, 4)  # it sees 6 frames, which is one latent of 4
    with pytest.raises(EvalError, match="horizon of 6 latent steps is longer than the 5"):
        default_plan(model, 24, horizon=6)
    with pytest.raises(EvalError, match="3 frames is not a multiple of 4"):
        default_plan(model, 24, contexts=[3])
