"""Two Rooms: solid walls, exact states, pictures of the right size."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from data_prep.environments.two_rooms.drawing import draw
from data_prep.environments.two_rooms.geometry import (
    WALL_HALF_PX,
    is_free,
    move,
    path_length,
    sample_start_and_goal,
    sample_wall,
)
from data_prep.environments.two_rooms.policies import straight_to, through_the_door, training_data_for_planning

gymnasium = pytest.importorskip("gymnasium")
from data_prep.environments.two_rooms.environment import TwoRooms  # noqa: E402  needs gymnasium

WALL, DOOR = np.float64(32.0), np.float64(20.0)


def moved(x: float, y: float, dx: float, dy: float) -> list[float]:
    return move(np.array([x, y]), np.array([dx, dy]), WALL, DOOR).tolist()


def test_moves_by_hand():
    assert moved(10, 10, 2, -1) == [12, 9]
    assert moved(28, 40, 10, 0) == [30.5, 40]  # stopped by the wall
    assert moved(28, 40, 10, 2.5) == [30.5, 40.625]  # a quarter of the move
    assert moved(36, 40, -10, 0) == [33.5, 40]  # from the other side
    assert moved(28, 20, 10, 0) == [38, 20]  # through the door
    assert moved(32, 20, 0, 9) == [32, 24]  # door edge
    assert moved(32, 20, 1, -9) == [32 + 4 / 9, 16]
    assert moved(5, 5, -4, 0.5) == [4, 5.125]  # border
    assert moved(58, 58, 4, 8) == [59, 60]  # the lower border first
    assert moved(30.5, 40, 1, 0) == [30.5, 40]  # already at the wall
    assert moved(30.5, 40, 0, 3) == [30.5, 43]  # along it
    assert moved(30.5, 40, -1, 0) == [29.5, 40]


def test_a_long_move_cannot_jump_over_the_wall():
    """Both end points are free, the segment is not: checks of the end point alone let the dot pass."""
    assert bool(is_free(np.array([50.0, 50.0]), WALL, DOOR))
    assert moved(10, 50, 40, 0) == [30.5, 50]


def test_every_point_of_every_move_is_free():
    """Of moves of up to 60 px with all walls and doors, from places that earlier moves reached."""
    rng = np.random.default_rng(3)
    wall, door = rng.integers(20, 45, 400).astype(float), rng.integers(10, 55, 400).astype(float)
    position = np.stack([sample_start_and_goal(rng, x)[0] for x in wall])
    crossings = 0
    for _ in range(50):
        before, position = position, move(position, rng.normal(0, 20, (400, 2)), wall, door)
        points = before + np.linspace(0, 1, 101)[:, None, None] * (position - before)  # [101, 400, 2]
        inside = (np.abs(points[..., 0] - wall) < 1.5 - 1e-9) & (np.abs(points[..., 1] - door) > 4 + 1e-9)
        assert not inside.any()
        crossings += int(((before[:, 0] < wall) != (position[:, 0] < wall)).sum())
    assert crossings > 100


def test_no_walk_enters_a_wall():
    rng = np.random.default_rng(0)
    wall, door = rng.integers(20, 45, 300).astype(float), rng.integers(10, 55, 300).astype(float)
    position = np.stack([sample_start_and_goal(rng, x)[0] for x in wall])
    for _ in range(200):
        position = move(position, rng.normal(0, 4, (300, 2)), wall, door, rng.normal(0, 0.5, (300, 2)))
        assert is_free(position, wall, door).all()


def test_a_bounce_points_back():
    stopped = np.array([[28.0, 40.0], [28.0, 40.0]])
    bounce = np.array([[0.4, 0.1], [-0.4, 0.1]])
    end = move(stopped, np.array([10.0, 0.0]), WALL, DOOR, bounce)
    np.testing.assert_allclose(end, [[30.1, 40.1], [30.1, 40.1]])
    assert move(np.array([10.0, 10.0]), np.array([1.0, 0.0]), WALL, DOOR, np.array([0.4, 0.1])).tolist() == [11, 10]


def test_many_dots_move_as_each_alone():
    rng = np.random.default_rng(1)
    wall, door = np.array([[25.0], [40.0]]), np.array([[12.0], [50.0]])
    position, action = rng.uniform(5, 19, (2, 7, 2)), rng.normal(0, 30, (2, 7, 2))
    for bounce in (None, rng.normal(0, 0.5, (2, 7, 2))):
        together = move(position, action, wall, door, bounce)
        for i, j in np.ndindex(2, 7):
            own = None if bounce is None else bounce[i, j]
            assert move(position[i, j], action[i, j], wall[i, 0], door[i, 0], own).tolist() == together[i, j].tolist()


def test_the_picture_shows_dot_and_walls():
    picture = draw(np.array([10.0, 50.0]), WALL, DOOR)
    assert (picture.shape, picture.dtype) == ((65, 65, 3), np.uint8)
    assert np.unravel_index(picture[..., 0].argmax(), (65, 65)) == (50, 10)
    assert picture[50, 10, 0] == 255
    assert np.flatnonzero(picture[40, :, 1]).tolist() == [4, 31, 32, 33, 60]
    assert np.flatnonzero(picture[:, 32, 1] == 0).tolist() == [0, 1, 2, 3, *range(16, 25), 61, 62, 63, 64]


def test_through_the_door_reaches_every_goal():
    rng = np.random.default_rng(2)
    walls = np.array([sample_wall(rng) for _ in range(300)])
    pairs = np.array([sample_start_and_goal(rng, x) for x, _ in walls])
    position, goal = pairs[:, 0], pairs[:, 1]
    assert ((position[:, 0] < walls[:, 0]) != (goal[:, 0] < walls[:, 0])).all()
    assert (np.abs(position[:, 0] - walls[:, 0]) >= WALL_HALF_PX + 2.6).all()
    for _ in range(60):
        action = through_the_door(position, goal, walls[:, 0], walls[:, 1])
        assert (np.linalg.norm(action, axis=-1) <= 2.45 + 1e-9).all()
        position = move(position, action, walls[:, 0], walls[:, 1], rng.normal(0, 0.5, (300, 2)))
    assert (np.linalg.norm(position - goal, axis=-1) < 1e-6).all()


def episode_for_planning(number: int) -> tuple[list[bool], list[bool], float]:
    """90 steps: whether the wall stopped each, whether it ended in the right room, and the median length of the actions."""
    rng = np.random.default_rng(number)
    act, position = training_data_for_planning(None, rng), np.array([10.0, 50.0])
    stopped, is_right, lengths = [], [], []
    for _ in range(90):
        action = act(np.array([*position, WALL, DOOR]), {})
        end = move(position, action, WALL, DOOR)
        stopped.append(bool(np.linalg.norm(end - position - action) > 0.1))
        is_right.append(bool(end[0] > WALL))
        lengths.append(np.linalg.norm(action))
        position = end
    return stopped, is_right, float(np.median(lengths))


def test_direct_walks_are_fast_and_exploring_walks_meet_the_wall():
    """Both kinds occur among the episodes for planning, with very different shares of steps that the wall stops."""
    episodes = [episode_for_planning(number) for number in range(40)]
    share = np.array([np.mean(stopped) for stopped, _, _ in episodes])
    is_direct = np.array([length > 2.2 for _, _, length in episodes])
    assert 20 <= is_direct.sum() <= 36
    assert share[is_direct].mean() < 0.05 < 0.1 < share[~is_direct].mean()


def test_direct_walks_that_the_wall_stops_soon_take_the_door():
    """Else no recorded way from a place at the wall is short. The wall stops a few steps at a time, and many walks cross."""
    stops, crossings = [], 0
    for stopped, is_right, length in map(episode_for_planning, range(40)):
        if length > 2.2 and any(stopped):
            stops += [sum(steps) for was_stopped, steps in groupby(stopped) if was_stopped]
            crossings += int(np.abs(np.diff(np.array(is_right, int))).sum())
    assert len(stops) >= 20
    assert max(stops) <= 8
    assert crossings >= 20


def test_the_way_to_the_other_room_leads_through_the_door():
    """From (20, 20) to (50, 60) with the door at (32, 20): 12 + |(18, 40)|."""
    goal = np.array([50.0, 60.0])
    assert path_length(np.array([20.0, 20.0]), goal, WALL, DOOR) == 12 + np.hypot(18, 40)
    assert path_length(np.array([50.0, 30.0]), goal, WALL, DOOR) == 30


def test_a_straight_line_stays_at_the_wall():
    position, goal = np.array([10.0, 50.0]), np.array([55.0, 50.0])
    for _ in range(60):
        position = move(position, straight_to(position, goal), WALL, DOOR)
    assert position.tolist() == [30.5, 50]


def test_a_reset_to_a_recorded_state_is_exact():
    one, other = TwoRooms(), TwoRooms()
    state, _ = one.reset(seed=7)
    for _ in range(20):
        state, *_ = one.step(one.np_random.normal(0, 2, 2))
    again, info = other.reset(seed=1, options={"state": state.tolist(), "goal": [10, 10]})
    assert again.tolist() == state.tolist()
    assert info["goal"].tolist() == [10, 10]
    assert np.array_equal(one.render(), other.render())


def test_the_same_seed_gives_the_same_episode():
    def episode(seed: int) -> list[list[float]]:
        environment = TwoRooms()
        states = [environment.reset(seed=seed)[0]]
        states += [environment.step(np.array([2.0, 0.7]))[0] for _ in range(40)]
        return np.array(states).tolist()

    assert episode(3) == episode(3)
    assert episode(3) != episode(4)


def test_impossible_places_are_refused():
    environment = TwoRooms()
    with pytest.raises(ValueError, match=r"the state .* lies inside a wall"):
        environment.reset(options={"state": [32, 40, 32, 20]})
    with pytest.raises(ValueError, match=r"the goal .* lies inside a wall or outside of the borders"):
        environment.reset(options={"state": [10, 40, 32, 20], "goal": [1, 1]})
    with pytest.raises(ValueError, match="options colour are unknown; there are state and goal"):
        environment.reset(options={"colour": 1})
    environment.reset(seed=0)
    with pytest.raises(ValueError, match=r"action .*; expected 2 finite numbers"):
        environment.step(np.array([np.nan, 0.0]))
