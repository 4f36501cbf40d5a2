"""The hidden object: motion by hand, equal pictures, and the floor of planners without memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from data_prep.environments.hidden_object.drawing import draw, visible_px
from data_prep.environments.hidden_object.geometry import (
    BUDGET_STEPS,
    HAND,
    LEAD_IN_STEPS,
    LEFT_SCREEN_PX,
    MAX_STEP_PX,
    MIDDLE_PX,
    OBJECT,
    REST_OFFSET_PX,
    SIZE_PX,
    SUCCESS_PX,
    members,
    move,
    sample_start,
    shortest_search,
    start_state,
)
from data_prep.environments.hidden_object.task import HiddenObjectTask

gymnasium = pytest.importorskip("gymnasium")
from data_prep.environments.hidden_object.environment import HiddenObject  # noqa: E402  needs gymnasium

TASK = HiddenObjectTask()
STARTS = [sample_start(np.random.default_rng(number)) for number in range(60)]
IDLE = np.zeros(1)


def after_lead_in(start: np.ndarray) -> np.ndarray:
    for _ in range(LEAD_IN_STEPS):
        start = move(start, IDLE)
    return start


def goal_of(start: np.ndarray) -> np.ndarray:
    return TASK.own_goal(start, {})


def test_motion_by_hand():
    state = start_state(26.0, 2.0, 10.0, 54.0, goes_left=True)
    assert state.tolist() == [32, 26, 12, -14 / 6, 10, 54]
    state = after_lead_in(state)
    assert state.tolist() == [32, 12, 12, 0, 10, 54]  # at rest, and exactly there
    for hand in (27.5, 23.0, 18.5):
        state = move(state, np.array([-9.0]))  # shortened to 4.5
        assert state[[HAND, OBJECT]].tolist() == [hand, 12]
    state = move(state, np.array([-3.5]))
    assert state[[HAND, OBJECT]].tolist() == [15, 15]  # within reach: the object is where the hand is
    state = move(state, np.array([4.0]))
    assert state[[HAND, OBJECT]].tolist() == [19, 19]
    for _ in range(9):
        state = move(state, np.array([4.5]))
    assert state[[HAND, OBJECT]].tolist() == [59.5, 59.5]
    assert move(state, np.array([4.5]))[[HAND, OBJECT]].tolist() == [60, 60]  # the border


@pytest.mark.parametrize("variation", TASK.variations, ids=lambda it: f"{it.factor}, {it.label}")
def test_one_changed_factor_of_the_look_changes_pictures_and_no_state_and_hides_the_object_all_the_same(variation):
    changed, usual = HiddenObject(**variation.options), HiddenObject()
    for start in STARTS[:10]:
        pictures = []
        for member in members(start):
            states = [it.reset(options={"state": member.tolist()})[0] for it in (changed, usual)]
            for _ in range(LEAD_IN_STEPS):
                states = [it.step(IDLE)[0] for it in (changed, usual)]
            np.testing.assert_array_equal(*states)
            pictures.append(changed.render().tobytes())
        assert pictures[0] == pictures[1]  # wherever the object went
        usual_look, look = usual.render(), changed.render()
        is_of_object = variation.factor.startswith("object")  # which is not seen now
        assert np.array_equal(usual_look, look) == is_of_object
        states = [it.reset(options={"state": start.tolist()})[0] for it in (changed, usual)]
        assert not np.array_equal(changed.render(), usual.render())


def test_looks_that_cannot_be_drawn_are_refused():
    for options, message in (
        ({"object_radius_px": 6.0}, "a screen does not hide the object; the screen must be at least 2.5 px larger"),
        ({"screen_half_px": 6.0}, "a screen does not hide the object"),
        ({"object_radius_px": -1.0}, "object_radius_px -1: expected a positive number"),
        ({"object_form": "box"}, "object_form 'box': expected one of disc, square"),
        ({"hand_colour": (1, 2, 3)}, r"colour \[1, 2, 3\]: expected three numbers from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            HiddenObject(**options)


def test_the_hand_does_not_take_an_object_that_passes():
    """It passes the hand on its way to the other side, and comes close to it."""
    state = start_state(26.0, 0.0, 10.0, 54.0, goes_left=False)
    distances = []
    for _ in range(LEAD_IN_STEPS):
        state = move(state, IDLE)
        distances.append(abs(state[OBJECT] - MIDDLE_PX))
    assert min(distances) < 3
    assert state[[HAND, OBJECT]].tolist() == [32, 54]


@pytest.mark.parametrize("start", STARTS)
def test_at_the_moment_of_planning_both_pictures_are_the_same(start):
    """Byte for byte, with not one pixel of the object; and during the same actions, until the object is brought out."""
    left, right = members(start)
    assert any(np.allclose(start, one, atol=1e-9) for one in (left, right))
    assert np.array_equal(draw(left), draw(right))  # the first picture does not tell either
    frames = []
    for state in (left, right):
        frames.append([])
        for _ in range(LEAD_IN_STEPS):
            frames[-1].append(draw(state))
            state = move(state, IDLE)
    assert any(not np.array_equal(one, other) for one, other in zip(*frames, strict=True))
    left, right = after_lead_in(left), after_lead_in(right)
    assert left[OBJECT] < MIDDLE_PX < right[OBJECT]
    assert draw(left).tobytes() == draw(right).tobytes()
    assert visible_px(left) == visible_px(right) == 0
    for _ in range(BUDGET_STEPS):  # to the left, until the hand stops there
        left, right = move(left, np.array([-4.0])), move(right, np.array([-4.0]))
        if visible_px(left) == 0:
            assert draw(left).tobytes() == draw(right).tobytes()
    assert left[OBJECT] == left[HAND]
    assert right[OBJECT] != right[HAND]


def test_the_goal_is_the_same_picture_for_both():
    for start in STARTS[:10]:
        one, other = members(start)
        assert np.array_equal(goal_of(one), goal_of(other))
        assert visible_px(goal_of(one)) > 15


@pytest.mark.parametrize("start", STARTS)
def test_a_hand_that_knows_the_place_reaches_every_goal(start):
    goal = goal_of(start)
    for state in map(after_lead_in, members(start)):
        path = [state]
        for _ in range(BUDGET_STEPS):
            path.append(TASK.step(path[-1], TASK.scripted(path[-1], goal)))
        distance = TASK.distance(np.stack(path), goal)
        assert all(criterion.reached(distance) for criterion in TASK.criteria)


def test_the_budget_is_too_short_to_look_behind_both_screens():
    """In every layout: the shortest way by one place to the other and back is longer than the longest way of the hand."""
    low, high = LEFT_SCREEN_PX
    offsets = np.linspace(-REST_OFFSET_PX, REST_OFFSET_PX, 9)
    for left, right, offset in itertools.product(np.arange(low, high + 0.5, 0.5), np.arange(low, high + 0.5, 0.5), offsets):
        assert shortest_search(left + offset, SIZE_PX - right + offset) > BUDGET_STEPS * MAX_STEP_PX


def searching(first: float):
    """Looks behind one screen and, where nothing red comes out, behind the other one. It sees pictures alone."""
    direction, brings, searched = first, False, False

    def act(picture: np.ndarray) -> np.ndarray:
        nonlocal direction, brings, searched
        red = (picture[..., 0].astype(int) > picture[..., 1].astype(int) + 80).any(0)
        blue = np.flatnonzero((picture[:8, :, 2].astype(int) > picture[:8, :, 0].astype(int) + 60).any(0))
        hand = float(blue.mean()) + 0.5
        if not brings and not searched and abs(hand - MIDDLE_PX) > 22:
            direction, searched = -direction, True
        brings = brings or bool(red.any())
        towards = MIDDLE_PX - hand if brings else direction * MAX_STEP_PX
        return np.clip([towards], -MAX_STEP_PX, MAX_STEP_PX)

    return act


def of_random(seed: int):
    rng = np.random.default_rng(seed)
    heading, turn = rng.choice([-1.0, 1.0]), rng.integers(4, 8)
    count = itertools.count()
    return lambda picture: np.array([heading * rng.uniform(3, 4.5) * (1 if next(count) < turn else -1)])


@pytest.mark.parametrize("make", [lambda n: searching(-1.0), lambda n: searching(1.0), of_random])
def test_a_planner_that_sees_the_present_alone_solves_at_most_one_of_each_pair(make):
    """Whatever it does: its actions in both are the same until the object comes out in one of them."""
    solved = []
    for number, start in enumerate(STARTS):
        results = []
        for state in map(after_lead_in, members(start)):
            act = make(number)
            for _ in range(BUDGET_STEPS):
                state = move(state, act(draw(state)))
            results.append(bool(abs(state[OBJECT] - MIDDLE_PX) < SUCCESS_PX))
        solved.append(results)
    assert max(map(sum, solved)) == 1
    if make is not of_random:
        assert np.mean(solved) == 0.5  # and the searching hand reaches that floor exactly


def test_the_copy_is_the_environment_and_a_reset_is_exact():
    one, other = HiddenObject(), HiddenObject()
    state, _ = one.reset(seed=5)
    rng = np.random.default_rng(0)
    for number in range(26):
        action = IDLE if number < LEAD_IN_STEPS else rng.uniform(-4.5, 4.5, 1)
        expected = TASK.step(state, action)
        again, _ = other.reset(seed=1, options={"state": state.tolist()})
        assert again.tolist() == state.tolist()
        assert np.array_equal(one.render(), other.render())
        state, *_ = one.step(action)
        assert state.tolist() == expected.tolist() == other.step(action)[0].tolist()


def test_bad_states_and_actions_are_refused():
    environment = HiddenObject()
    with pytest.raises(ValueError, match="expected 6 finite numbers"):
        environment.reset(options={"state": [1, 2]})
    with pytest.raises(ValueError, match="there is state"):
        environment.reset(options={"goal": [1]})
    environment.reset(seed=0)
    with pytest.raises(ValueError, match="expected 1 finite numbers"):
        environment.step(np.array([np.nan]))
