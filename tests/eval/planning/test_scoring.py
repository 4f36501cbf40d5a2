"""Criteria, scores, intervals and differences of the evaluation of planning."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.environments.tasks import Criterion
from eval.intervals import bootstrap_crossed
from eval.planning.pairs import Pair
from eval.planning.scoring import by_distance, difference, score
from tests.support.made_pairs import PAIRS


def test_criteria_by_hand():
    distance = np.array([0.0, 5.0, 1.0, 1.0, 1.0, 3.0])  # the start stands at the goal
    assert not Criterion("a", 2.0, "last").reached(distance)
    assert Criterion("a", 4.0, "last").reached(distance)
    assert Criterion("a", 2.0, "any").reached(distance)
    assert Criterion("a", 2.0, "held", 3).reached(distance)
    assert not Criterion("a", 2.0, "held", 4).reached(distance)
    assert not Criterion("a", 2.0, "any").reached(np.array([0.0, 5.0]))  # a start at the goal is no success
    assert not Criterion("a", 2.0, "held", 3).reached(np.array([0.0, 1.0]))  # fewer steps than must be held


def test_the_repeated_state_after_an_early_end_does_not_count_as_held():
    distance = np.array([[9.0, 5.0, 1.0, 1.0, 1.0], [9.0, 1.0, 1.0, 1.0, 1.0]])
    held = Criterion("a", 2.0, "held", 3)
    assert held.reached(distance).tolist() == [True, True]
    assert held.reached(distance, np.array([2, 3])).tolist() == [False, True]  # one step near the goal, and three
    assert Criterion("a", 2.0, "last").reached(distance, np.array([2, 3])).all()
    assert not Criterion("a", 2.0, "any").reached(distance[:1], np.array([1])).any()


def test_an_interval_is_not_empty_where_all_episodes_succeed():
    found = score(np.ones((2, 20)))
    assert found["value"] == found["high"] == 1
    assert 0.8 < found["low"] < 0.9  # Wilson's for 20 of 20: 0.839


def test_planning_seeds_do_not_widen_an_interval_as_models_do():
    values = np.concatenate([np.zeros((1, 40)), np.ones((1, 40))])
    as_seeds, as_models = score(values, models=1), score(values, models=2)
    assert as_seeds["value"] == as_models["value"] == 0.5
    assert as_seeds["high"] - as_seeds["low"] < as_models["high"] - as_models["low"] == 1


def test_differences_are_paired():
    model = np.array([[1.0, 1.0, 0.0, 0.0] * 10])
    assert difference(model, model)["low"] == 0 == difference(model, model)["high"]
    better = difference(np.ones((1, 30)), np.zeros((1, 30)))
    assert better["value"] == 1
    assert better["p"] < 0.001


def test_episodes_of_a_matched_pair_count_as_one_value():
    """Without memory one episode of each matched pair succeeds: always one half, whatever the pair."""
    one_of_two, both_or_none = np.tile([1.0, 0.0], (1, 20)), np.repeat([[1.0, 0.0] * 10], 2, axis=1)
    found = score(one_of_two, members=2)
    assert (found["value"], found["low"], found["high"]) == (0.5, 0.5, 0.5)
    assert (found["n"], found["episodes"]) == (20, 40)
    grouped = score(both_or_none, members=2)
    low, high = bootstrap_crossed([both_or_none[:, ::2]])[1:]
    assert (grouped["low"], grouped["high"]) == (low, high)
    assert high - low > 1.2 * (score(both_or_none)["high"] - score(both_or_none)["low"])
    always = score(np.ones((2, 40)), members=2)
    assert always["low"] == score(np.ones((2, 20)))["low"]  # Wilson's for 20 of 20
    few = difference(np.ones((1, 8)), np.zeros((1, 8)), members=2)
    assert few["p"] == difference(np.ones((1, 4)), np.zeros((1, 4)))["p"] == 0.125
    assert "episodes" not in score(one_of_two)


def test_pairs_of_one_recorded_episode_are_resampled_and_flipped_together():
    """Ten episodes of ten pairs; all pairs of one have the same result. So there are ten values, not a hundred."""
    episodes = np.array([[1.0, 0.0] * 5])
    values, groups = np.repeat(episodes, 10, axis=1), np.repeat(np.arange(10), 10)
    found = score(values, groups=groups)
    assert (found["value"], found["n"], found["groups"]) == (0.5, 100, 10)
    assert (found["low"], found["high"]) == pytest.approx(bootstrap_crossed([episodes])[1:])
    assert found["high"] - found["low"] > 2.5 * (score(values)["high"] - score(values)["low"])
    assert score(np.ones((1, 100)), groups=groups)["low"] == score(np.ones((1, 10)))["low"]  # Wilson's for 10 of 10
    apart = score(values, groups=np.arange(100))
    assert apart == score(values)
    assert "groups" not in apart


def test_sign_flips_of_recorded_episodes_by_hand():
    """Differences of three episodes: 1 + 1 + 1, 1, and -1. The sum is 3; of all signs of 3, 1 and 1, the sums 5, 3, 3 and 1.

    So 6 of 8 patterns have a sum of 3 or more. For five independent pairs it would be 12 of 32.
    """
    model, other, groups = np.array([[1.0, 1, 1, 1, 0]]), np.array([[0.0, 0, 0, 0, 1]]), np.array([4, 4, 4, 7, 2])
    assert difference(model, other, groups=groups)["p"] == 6 / 8
    assert difference(model, other)["p"] == 12 / 32
    assert difference(model, other, groups=groups)["value"] == pytest.approx(0.6)  # the mean over pairs, not over episodes


def test_pairs_of_a_matched_pair_and_of_an_episode_are_one_group():
    def pair(clip_id: str) -> Pair:
        return Pair((0.0,), (1.0,), clip_id, 0)

    found = replace(PAIRS, pairs=tuple(pair(name) for name in ("b", "a", "b", "", "")))
    assert [len(set(found.episodes[list(some)])) for some in ((0, 2), (0, 1), (3, 4))] == [1, 2, 2]
    matched = replace(found, members=2, pairs=tuple(pair(name) for name in ("", "", "", "")))
    assert matched.episodes.tolist() == [0, 0, 1, 1]


def test_a_matched_pair_is_in_one_bin_of_distances():
    values, to_go = np.tile([1.0, 0.0], (1, 8)), np.arange(16.0)
    to_go[[1, 14]] = to_go[[14, 1]]  # the first and the last pair have a short and a long way
    found = by_distance(values, to_go, members=2)
    assert sum(row["n"] for row in found) == 8
    assert {row["value"] for row in found} == {0.5}
