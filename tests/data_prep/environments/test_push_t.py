"""Push-T: states that can be continued exactly, pictures, the pusher, and when a goal is reached."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.environments.making import make_environment
from data_prep.environments.push_t import geometry, policies
from data_prep.environments.push_t.drawing import Look, draw
from data_prep.environments.push_t.task import PushTTask
from data_prep.environments.tasks import is_at_goal, measured
from data_prep.errors import PrepError

TASK = PushTTask()
MIDDLE = np.array([100.0, 400.0, 256.0, 200.0, 0.0, 0.0, 0.0])


def state(**changes: float) -> np.ndarray:
    return np.array([changes.get(name, value) for name, value in zip(geometry.STATE, MIDDLE.tolist(), strict=True)])


def test_distances_from_the_t_by_hand():
    points = np.array([[0, 15], [0, -20], [80, 15], [60, 60], [0, 140], [25, 40]], float)
    # inside the bar; above it; beside it; under its end; under the stem; in the corner of bar and stem
    assert geometry.distance_from_block(points).tolist() == [-15, 20, 20, 30, 20, 10]


def test_world_and_block_coordinates_are_inverse_and_turn_x_towards_y():
    turned = state(block_angle=np.pi / 2)
    np.testing.assert_allclose(geometry.to_world(np.array([0.0, 120.0]), turned), [136, 200], atol=1e-9)
    rng = np.random.default_rng(0)
    points, states = rng.normal(0, 50, (7, 2)), rng.normal(0, 3, (7, 7))
    np.testing.assert_allclose(geometry.to_block(geometry.to_world(points, states), states), points, atol=1e-9)


def test_criteria_by_hand():
    moderate, strict = TASK.criteria
    goal = state(agent_x=112.0, block_x=272.0, block_angle=2 * np.pi - np.radians(5))
    assert measured(TASK, moderate, MIDDLE, goal) == pytest.approx(20)  # 12 and 16 px
    assert measured(TASK, strict, MIDDLE, goal) == pytest.approx(16)
    turned = state(agent_x=200.0, block_x=258.0, block_angle=np.radians(9))
    assert measured(TASK, moderate, MIDDLE, turned) > 100  # the agent counts
    assert measured(TASK, strict, MIDDLE, turned) == pytest.approx(9)  # the T alone, and its angle
    assert measured(TASK, strict, state(block_angle=0.05), state(block_angle=2 * np.pi - 0.05)) == pytest.approx(
        np.degrees(0.1)
    )
    assert is_at_goal(TASK, MIDDLE, turned)  # else doing nothing would be a strict success
    assert not is_at_goal(TASK, MIDDLE, state(agent_x=150.0, block_x=270.0))
    with pytest.raises(PrepError, match="give --goals later"):
        TASK.own_goal(MIDDLE, {})


def test_the_picture_shows_agent_and_t_where_they_are():
    look = Look(agent=(255, 0, 0), block=(0, 255, 0), background=(0, 0, 0), wall=(0, 0, 0))
    picture = draw(MIDDLE, 64, look).astype(float)
    axis = (np.arange(64) + 0.5) * 8
    for channel, place, area in ((0, (100, 400), np.pi * 15**2), (1, (256, 200 + (15 + 75 * 0.75) / 1.75), 6300)):
        mass = picture[..., channel] / 255
        assert mass.sum() * 64 == pytest.approx(area, rel=0.05)  # px of the arena
        assert (mass.sum(0) * axis).sum() / mass.sum() == pytest.approx(place[0], abs=0.5)
        assert (mass.sum(1) * axis).sum() / mass.sum() == pytest.approx(place[1], abs=0.5)
    both = draw(np.stack([MIDDLE, state(block_angle=1.0)]), 64, look)
    assert np.array_equal(both[0], draw(MIDDLE, 64, look))
    moved = draw(state(agent_x=101.0), 64, look)
    assert not np.array_equal(moved, draw(MIDDLE, 64, look))  # an eighth of a pixel is seen


def test_the_goal_zone_is_drawn_only_on_demand():
    green = (0, 255, 0)
    assert not (draw(MIDDLE) == green).all(-1).any()
    assert (draw(MIDDLE, look=Look(goal=green)) == green).all(-1).sum() > 20


# --- with the physics of gym-pusht ----------------------------------------------------------------


def episode(steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """States and actions of the pusher."""
    environment = make_environment("PushT-v0")
    now, info = environment.reset(seed=seed)
    act = policies.pushes(environment, np.random.default_rng(seed))
    states, actions = [now], []
    for _ in range(steps):
        actions.append(act(states[-1], info))
        states.append(environment.step(actions[-1])[0])
    return np.array(states), np.array(actions)


@pytest.fixture(scope="module")
def recorded():
    pytest.importorskip("gym_pusht", reason="Push-T needs gym-pusht (the extra `control`)", exc_type=ImportError)
    return [episode(80, seed) for seed in range(4)]


def test_recorded_actions_from_the_middle_reproduce_the_following_states(recorded):
    """From every tenth state, during pushes too, for 25 steps."""
    environment = make_environment("PushT-v0")
    for states, actions in recorded:
        for first in range(0, 55, 10):
            found = [environment.reset(options={"state": states[first].tolist()})[0]]
            found += [environment.step(action)[0] for action in actions[first : first + 25]]
            np.testing.assert_allclose(np.array(found), states[first : first + 26], atol=1e-6)


def test_without_the_velocity_of_the_agent_the_replay_drifts(recorded):
    environment = make_environment("PushT-v0")
    drift = []
    for states, actions in recorded:
        environment.reset(options={"state": [*states[30, :5], 0.0, 0.0]})
        found = np.array([environment.step(action)[0] for action in actions[30:55]])
        drift.append(np.abs(found[:, :4] - states[31:56, :4]).max())
    assert max(drift) > 1


def test_the_path_is_that_of_gym_pusht(recorded):
    """The same targets in gym-pusht: the agent is equal, the T within what a push moves it in 0.01 s, plus 1 px."""
    from gym_pusht.envs.pusht import PushTEnv

    for states, actions in recorded:
        other = PushTEnv(obs_type="state")
        other.reset(seed=0)
        other.goal_pose = np.array([-2000.0, -2000.0, 0.0])
        other.block.angle = states[0, 4]
        other.block.position = states[0, 2:4].tolist()
        other.agent.position, other.agent.velocity = states[0, :2].tolist(), (0.0, 0.0)
        for step, action in enumerate(actions[:30]):
            bounded = np.clip(states[step, :2] + action, *geometry.TARGET_PX)
            seen = other.step(bounded)[0]
            np.testing.assert_allclose(seen[:2], states[step + 1, :2], atol=1e-9)
            pending = np.linalg.norm(other.block.velocity) * 0.01
            assert np.linalg.norm(seen[2:4] - states[step + 1, 2:4]) < pending + 1.0


def test_the_pusher_makes_contact_and_moves_the_t_along_many_directions(recorded):
    moves = np.concatenate([states[10::10, 2:4] - states[:-10:10, 2:4] for states, _ in recorded])
    far = moves[np.linalg.norm(moves, axis=1) > 8]
    assert len(far) > len(moves) / 4
    angles = np.sort(np.arctan2(far[:, 1], far[:, 0]))
    assert np.diff([*angles, angles[0] + 2 * np.pi]).max() < np.pi
    turned = [geometry.angle_difference(states[10::10, 4], states[:-10:10, 4]) for states, _ in recorded]
    assert np.degrees(np.concatenate(turned)).max() > 15
    for states, actions in recorded:
        assert (np.linalg.norm(actions, axis=1) <= geometry.MAX_ACTION_PX + 1e-9).all()
        assert ((states[:, :4] > 0) & (states[:, :4] < 512)).all()


def test_the_copy_of_the_environment_steps_many_states_as_each_alone(recorded):
    states, actions = (np.stack([it[index][:40:10] for it in recorded]) for index in (0, 1))
    following = np.stack([it[0][1:41:10] for it in recorded])
    np.testing.assert_allclose(TASK.step(states, actions), following, atol=1e-6)


def test_bad_states_and_options_are_one_line(recorded):
    environment = make_environment("PushT-v0")
    with pytest.raises(ValueError, match="outside of the arena"):
        environment.reset(options={"state": [600, *MIDDLE[1:]]})
    with pytest.raises(ValueError, match="expected 7 finite numbers"):
        environment.reset(options={"state": [1, 2]})
    with pytest.raises(ValueError, match="options goal are unknown; there is state"):
        environment.reset(options={"goal": 1})
    first = environment.reset(seed=3)[0]
    assert first.tolist() == environment.reset(seed=3)[0].tolist()
    assert environment.render().shape == (64, 64, 3)
