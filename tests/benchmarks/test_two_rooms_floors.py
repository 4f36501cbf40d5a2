"""The floors of Two Rooms are those that were found before, and exact dynamics can be planned with."""

import numpy as np

from benchmarks import two_rooms_floors as floors
from data_prep.environments.two_rooms import geometry, policies
from eval.intervals import wilson
from worldmodel.planning import CEMConfig

PAIRS = floors.make_pairs(300, seed=0)


def successes(policy: floors.Policy) -> int:
    return int((floors.run(PAIRS, policy, seed=0)[-1] < geometry.SUCCESS_PX).sum())


def test_floors_of_policies_without_a_model():
    """37 % for a straight line was measured by a separate simulation of the same geometry."""
    assert successes(lambda position, step: np.zeros_like(position)) == 0
    low, high = wilson(successes(lambda position, step: policies.straight_to(position, PAIRS.goal)), 300)
    assert low < 0.37 < high
    through = successes(lambda p, step: policies.through_the_door(p, PAIRS.goal, PAIRS.wall_x, PAIRS.door_y))
    assert through == 300


def test_random_walks_rarely_end_at_the_goal():
    few = PAIRS.first(60)
    assert (floors.run(few, floors.random_policy(few, 0), 0)[-1] < geometry.SUCCESS_PX).sum() <= 3


def test_more_pairs_change_no_pair():
    more = floors.make_pairs(7, seed=0)
    assert np.array_equal(more.start, PAIRS.start[:7])


def test_planning_with_exact_dynamics_reaches_goals_beyond_the_door():
    """Start and goal at the height of the door: the straight line is the way."""
    height = np.array([20.0, 40.0])
    pairs = floors.Pairs(
        np.stack([[20.0, 15.0], height], 1), np.stack([[40.0, 50.0], height], 1), np.array([30.0, 30.0]), height
    )
    config = CEMConfig(horizon=20, samples=60, elites=8, iterations=5, std=1.5)
    distances = floors.run(pairs, floors.OraclePolicy(pairs, config, 0), 0)
    assert (distances[-1] < geometry.STRICT_SUCCESS_PX).all()
