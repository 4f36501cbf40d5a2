"""What a model makes of films that nobody paired: numbers worked by hand on a model whose forecasts are known."""

import numpy as np
import pytest
import torch

from eval.errors import EvalError
from eval.plausibility.sliding_windows import (
    copy_share,
    joined,
    load_watched,
    mean_surprise,
    save_watched,
    time_course,
    usual_plan,
    watch,
)
from eval.voe.surprise.windows import WindowPlan

PLAN = WindowPlan(fps=10, frames=6, stride=2, contexts=(2, 4), horizon=3, tubelet_size=1, max_context=6)


class Drift:
    """A latent is the mean grey of each half of the picture; it forecasts that both go on rising by 1 a frame."""

    fps, tubelet_size, max_context, max_steps, size_px, target_scope = 10.0, 1, 6, 3, 4, "past"
    max_span = None

    def normalise(self, frames):
        return frames.permute(0, 1, 4, 2, 3).float()

    def encode(self, frames):
        return frames.unflatten(-1, (2, -1)).mean((2, 3, 5))[..., None]

    def forecast(self, context, steps):
        return self.encode(context)[:, -1:] + torch.arange(1.0, steps + 1)[:, None, None]

    def distance(self, forecast, target):
        return (forecast - target).square().mean(-1)


def film(left, right) -> torch.Tensor:
    """Halves of these greys over time: uint8 [1, T, 4, 4, 3]."""
    halves = torch.tensor([left, right], dtype=torch.uint8).T
    return halves[:, None, :, None].expand(-1, 4, 2, 2).flatten(2)[..., None].expand(-1, -1, -1, 3)[None].contiguous()


def seen(left, right, plan: WindowPlan = PLAN, by_place: bool = False):
    return watch(Drift(), film(left, right), plan, {"distance": Drift().distance}, by_place).film(0)


def test_what_rises_as_foreseen_does_not_surprise_and_copying_is_wrong_by_the_square_of_the_step():
    found = seen(range(10, 18), range(50, 58))
    assert found.surprise["distance"].shape == (
        2,
        2,
        3,
    )  # windows from frames 0 and 2; seen 2 and 4; 3 steps, or 2 that are left
    missing = [[False] * 3, [False, False, True]]
    np.testing.assert_array_equal(np.isnan(found.surprise["distance"]), [missing, missing])
    np.testing.assert_allclose(found.surprise["distance"][:, 0], 0)
    np.testing.assert_allclose(found.copying["distance"][:, 0], [[1, 4, 9]] * 2)
    np.testing.assert_allclose(found.motion, np.ones((2, 5)))


def test_a_half_that_stands_still_surprises_there_and_nowhere_else():
    found = seen(range(10, 18), [50] * 8, by_place=True)
    np.testing.assert_allclose(found.surprise["distance"][:, 0], [[0.5, 2, 4.5]] * 2)  # half of 1, 4, 9
    assert found.motion[0, 0] == pytest.approx(0.5**0.5)
    # frame 2 is judged by the first window alone, one step ahead; frame 4 by it two ways, and by the second one
    np.testing.assert_array_equal(found.judged, [0, 0, 1, 1, 3, 2, 2, 1])
    np.testing.assert_allclose(found.places["distance"][[2, 4]], [[0, 1], [0, 9 + 1 + 1]])


def test_a_film_is_judged_as_it_would_be_in_stretches():
    dice = np.random.default_rng(0)
    left, right = dice.integers(0, 200, (2, 30)).tolist()
    whole = seen(left, right, by_place=True)
    parts = [seen(left[first : first + 10], right[first : first + 10], by_place=True) for first in (0, 6, 12, 18)]
    parts.append(seen(left[24:], right[24:], by_place=True))
    again = joined(parts, PLAN, windows_a_part=3)
    np.testing.assert_array_equal(again.surprise["distance"], whole.surprise["distance"])
    np.testing.assert_array_equal(again.copying["distance"], whole.copying["distance"])
    np.testing.assert_array_equal(again.motion, whole.motion)
    np.testing.assert_array_equal(again.judged, whole.judged)
    np.testing.assert_allclose(again.places["distance"], whole.places["distance"])


def test_a_film_shorter_than_a_window_is_one_window():
    found = seen(range(5), range(5))
    np.testing.assert_array_equal(np.isfinite(found.surprise["distance"]), [[[True] * 3, [True, False, False]]])
    with pytest.raises(EvalError, match="2 frames at 10 frames/s are too few: 3 are needed"):
        seen(range(2), range(2))


def test_what_is_not_judged_counts_neither_for_a_film_nor_for_a_moment():
    values = np.array([[[1.0, 3.0, np.nan], [np.nan] * 3], [[5.0, np.nan, np.nan], [9.0, 9.0, np.nan]]])
    assert mean_surprise(values) == pytest.approx((2 + 5 + 9) / 3)
    # windows from frames 0 and 2, seen 2 or 4: frame 2 by 1, 3 by 3, 4 by 5, 6 and 7 by 9
    np.testing.assert_array_equal(time_course(values, PLAN, 9), [np.nan, np.nan, 1, 3, 5, np.nan, 9, 9, np.nan])


def test_a_film_of_no_error_at_all_is_no_better_than_copying():
    np.testing.assert_allclose(copy_share(np.array([0.0, 1, 3, 2]), np.array([0.0, 3, 1, 0])), [0.5, 0.25, 0.75, 1])


def test_what_is_kept_is_what_was_seen(tmp_path):
    films = [seen(range(10, 18), [50] * 8, by_place=True), "truncated: it ends early", seen(range(5), range(5))]
    save_watched(tmp_path / "films.npz", films)
    again = load_watched(tmp_path / "films.npz")
    assert again[1] == films[1]
    for one, other in ((films[0], again[0]), (films[2], again[2])):
        for name in ("motion", "judged"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        for name in ("surprise", "copying", "places"):
            assert getattr(one, name).keys() == getattr(other, name).keys()
            for key, array in getattr(one, name).items():
                np.testing.assert_array_equal(array, getattr(other, name)[key])


def test_windows_that_context_and_forecast_share_are_no_longer_than_the_models(masked_model):
    frames = torch.randint(0, 256, (1, 12, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for length in (8, 12):
        plan = usual_plan(masked_model, length)
        assert max(window.context + 2 * window.steps for window in plan.free(12)) == 8
        assert plan.horizon == max(window.steps for window in plan.free(12))
        found = watch(masked_model, frames, plan, {"distance": masked_model.distance})
        assert np.isfinite(found.surprise["distance"]).any((-2, -1)).all()


def test_windows_follow_the_model():
    model = Drift()
    plan = usual_plan(model, 6)
    assert (plan.contexts, plan.horizon, plan.stride) == ((1, 2, 3, 4), 3, 2)
    model.tubelet_size, model.max_steps = 4, 9
    plan = usual_plan(model, 24)
    assert (plan.contexts, plan.horizon, plan.stride) == ((4,), 5, 4)  # it sees 6 frames, and whole latents of 4
    with pytest.raises(EvalError, match="horizon of 6 latent steps is beyond the 5"):
        usual_plan(model, 24, horizon=6)
    with pytest.raises(EvalError, match="3 frames is no multiple of 4"):
        usual_plan(model, 24, contexts=[3])
