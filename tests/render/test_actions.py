"""Actions as arrows and bars: directions, lengths and what is compared on one scale."""

import numpy as np
import pytest

from worldmodel.render import strip
from worldmodel.render.actions import ActionNames, ShownActions, action_frames, action_scale
from worldmodel.render.panels import side_by_side
from worldmodel.render.rollouts import Rollout, gallery_card, panels
from worldmodel.render.style import DARK

XY = ActionNames(("dx", "dy"), ("px", "px"))


def blocks(*actions: tuple[float, ...]) -> np.ndarray:
    """One recorded action between two frames: [T - 1, 1, A]."""
    return np.array(actions, float)[:, None]


def dark(frame: np.ndarray) -> np.ndarray:
    """Where the arrow or the bars are, without text at the top."""
    found = (np.abs(frame.astype(int) - DARK) < 30).all(-1)
    found[:40] = False
    return found


def test_an_arrow_points_where_the_action_moves_with_the_second_number_down():
    actions = blocks((2.0, 0.0), (0.0, 2.0), (-1.0, 0.0))
    first, right, down, left = action_frames(actions, XY, action_scale([actions], XY))
    assert not dark(first).any()  # nothing led to the first frame
    y, x = np.nonzero(dark(right))
    assert x.mean() > 150
    assert abs(y.mean() - 128) < 4
    y_down, x_down = np.nonzero(dark(down))
    assert y_down.mean() > 150
    assert abs(x_down.mean() - 128) < 4
    assert 128 - np.nonzero(dark(left))[1].min() == pytest.approx((x.max() - 128) / 2, abs=4)  # half as long


def test_a_frame_shows_the_mean_of_the_actions_that_led_to_it():
    two = np.array([[[4.0, 0.0], [0.0, 0.0]]])  # k = 2
    scale = action_scale([blocks((4.0, 0.0))], XY)
    np.testing.assert_array_equal(action_frames(two, XY, scale)[1], action_frames(blocks((2.0, 0.0)), XY, scale)[1])


def test_equal_units_have_one_scale_and_a_range_without_zero_is_drawn_from_its_middle():
    both = [blocks((1.0, 0.5), (-2.0, 0.0)), blocks((0.0, 3.0))]
    scale = action_scale(both, XY)
    assert scale.origin.tolist() == [0, 0]
    assert scale.extent.tolist() == [3, 3]
    assert action_scale(both, ActionNames(("dx", "turn"), ("px", "rad"))).extent.tolist() == [2, 3]
    targets = action_scale([blocks((100.0, 0.0), (300.0, 0.0))], ActionNames(("x", "y")))
    assert targets.origin.tolist() == [200, 0]
    assert targets.relative(np.array([300.0, 0.0])).tolist() == [1, 0]


@pytest.mark.parametrize("count", [1, 3, 7, 20])
def test_other_sizes_are_bars_on_both_sides_of_zero(count: int):
    names = ActionNames(tuple(f"joint {i}" for i in range(count)), ("rad",) * count)
    positive, negative = np.ones((1, 1, count)), -np.ones((1, 1, count))
    scale = action_scale([positive, negative], names)
    for actions, is_right in ((positive, True), (negative, False)):
        bars = dark(action_frames(actions, names, scale)[1])[60:]
        assert (bars[:, 140:220].sum() > 20 * bars[:, 40:110].sum()) == is_right


def test_titles_have_names_and_units():
    assert XY.title == "dx, dy (px)"
    assert ActionNames(("x", "y", "turn"), ("m", "m", "rad")).title == "x (m), y (m), turn (rad)"
    assert ActionNames(("a", "b", "c", "d")).title == "a, b, c, ..."


def rollout(decoded: bool) -> Rollout:
    rng = np.random.default_rng(0)
    video, latents = rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8), rng.normal(size=(6, 1, 4))
    error, picture = np.arange(6.0)[:, None], video if decoded else None
    actions = ShownActions(XY, rng.normal(size=(5, 1, 2)), rng.normal(size=(5, 1, 2)), latents, 2 * error, picture, video)
    near = video, np.arange(6.0)
    return Rollout("a", video, 2, np.arange(6) / 6, latents, latents, error, picture, (), *near, actions)


@pytest.mark.parametrize("decoded", [True, False])
def test_the_prediction_for_other_actions_stands_beside_that_for_the_recorded_ones(decoded: bool):
    made = rollout(decoded)
    shown = list(panels(made))
    half = len(shown) // 2
    assert shown[1] == "recorded actions"
    assert shown[half + 1] == "other actions"  # below it
    drawn = "prediction" if decoded else "nearest training frame"
    assert shown[2] == drawn
    assert shown[half + 2] == f"{drawn}, other actions"
    card = gallery_card(made, 6.0, "demo")
    assert "recorded actions: dx, dy (px)" in card.panels
    first, second, _ = card.curves.values()
    np.testing.assert_allclose(second, 2 * np.array(first))
    assert strip(panels(made), made.times_s.tolist(), 2).ndim == 3


def test_panels_in_two_rows_have_their_captions_and_one_time_line():
    video = np.full((4, 64, 64, 3), 90, np.uint8)
    one, two = (side_by_side(dict.fromkeys("abcd", video), [0, 1, 2, 3], 2, columns) for columns in (4, 2))
    assert two.shape[2] < one.shape[2]
    assert one.shape[1] < two.shape[1] < 2 * one.shape[1]
    assert [(frame == 90).all(-1).sum() for frame in two] == [4 * 256 * 256] * 4
