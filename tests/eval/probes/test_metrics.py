"""Scores worked by hand; intervals are over clips."""

import numpy as np
import pytest

from eval.intervals import bootstrap_of_sums
from eval.probes.metrics import accuracy, balanced_accuracy, difference, mean_statistic, r2, r2_statistic, recall_statistic


def test_r2_and_error_by_hand():
    truth = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    predicted = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 2.0]])
    # squared errors 1 + 1 + 4; variance of the truth 4 + 0 + 4: 1 - 6/8; error sqrt(6/3)
    score = r2(truth, predicted, np.array([0, 1, 2]), "px")
    assert score.value == pytest.approx(0.25)
    assert score.error == pytest.approx(2**0.5)
    assert (score.n, score.rows, score.unit) == (3, 3, "px")


def test_predicting_the_mean_has_r2_zero_far_from_zero_too():
    truth = 1e4 + np.random.default_rng(0).normal(size=(60, 1))
    assert r2(truth, np.full_like(truth, truth.mean()), np.arange(60)).value == pytest.approx(0, abs=1e-9)


def test_r2_of_a_constant_truth_is_undefined():
    still = np.ones((10, 1))
    assert np.isnan(r2(still, still, np.arange(10)).value)


def test_intervals_are_over_clips_not_time_steps():
    """Ten times as many identical time steps of the same clips do not make the interval narrower."""
    rng = np.random.default_rng(1)
    truth, group = rng.normal(size=(30, 1)), np.arange(30)
    predicted = truth + 0.5 * rng.normal(size=(30, 1))
    once = r2(truth, predicted, group)
    often = r2(truth.repeat(10, 0), predicted.repeat(10, 0), group.repeat(10))
    assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert (once.n, often.n, often.rows) == (30, 30, 300)


def test_balanced_accuracy_by_hand():
    truth, predicted = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0])
    score = balanced_accuracy(truth, predicted, np.arange(6))
    assert score.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert score.chance == 1 / 2


def test_always_predicting_the_most_frequent_class_is_at_chance():
    truth = np.repeat([0, 1, 2], (80, 15, 5))
    score = balanced_accuracy(truth, np.zeros(100, int), np.arange(100))
    assert score.value == pytest.approx(score.chance) == pytest.approx(1 / 3)


def test_plain_accuracy_by_hand():
    score = accuracy(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]), np.arange(4), chance=0.5)
    assert (score.value, score.n) == (0.75, 4)


def test_bootstrap_of_sums_is_the_bootstrap_of_a_mean():
    values = np.random.default_rng(2).random(50)
    value, low, high = bootstrap_of_sums(np.stack([values, np.ones(50)], 1), lambda total: total[..., 0] / total[..., 1])
    drawn = values[np.random.default_rng(3).integers(0, 50, (20000, 50))].mean(1)
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.01)


def test_a_difference_over_the_same_clips_has_a_narrower_interval_than_either_score():
    """Two probes err on the same clips, one of them a little more. What is common to both cancels."""
    rng = np.random.default_rng(4)
    truth, group = rng.normal(size=(60, 1)), np.arange(60)
    hard = rng.normal(size=(60, 1))
    better, worse = (r2_statistic(truth, truth + factor * hard, group) for factor in (0.6, 0.7))
    value, low, high = difference(worse, better).interval()
    assert value == pytest.approx(worse.interval()[0] - better.interval()[0])
    assert high < 0
    assert better.interval()[2] - better.interval()[1] > 2 * (high - low)
    assert difference(better, better).interval() == (0, 0, 0)


def test_a_mean_of_statistics_by_hand():
    truth, group = np.array([0, 0, 1, 1]), np.arange(4)
    half = recall_statistic(truth, np.array([0, 1, 1, 0]), group)
    whole = recall_statistic(truth, truth, group)
    assert mean_statistic([half, whole]).interval()[0] == pytest.approx(0.75)
    assert mean_statistic([half]).interval() == half.interval()
