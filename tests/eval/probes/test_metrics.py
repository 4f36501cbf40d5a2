"""Scores worked by hand; intervals over films."""

import numpy as np
import pytest

from eval.intervals import bootstrap_of_sums
from eval.probes.metrics import accuracy, balanced_accuracy, difference, mean, r2, r2_statistic, recall_statistic


def test_r2_and_error_by_hand():
    truth = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    reading = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 2.0]])
    # squared errors 1 + 1 + 4; variance of the truth 4 + 0 + 4: 1 - 6/8; error sqrt(6/3)
    score = r2(truth, reading, np.array([0, 1, 2]), "px")
    assert score.value == pytest.approx(0.25)
    assert score.error == pytest.approx(2**0.5)
    assert (score.n, score.rows, score.unit) == (3, 3, "px")


def test_the_mean_explains_nothing_far_from_zero_too():
    truth = 1e4 + np.random.default_rng(0).normal(size=(60, 1))
    assert r2(truth, np.full_like(truth, truth.mean()), np.arange(60)).value == pytest.approx(0, abs=1e-9)


def test_what_does_not_vary_has_no_r2():
    still = np.ones((10, 1))
    assert np.isnan(r2(still, still, np.arange(10)).value)


def test_intervals_are_over_films_not_moments():
    """Ten times as many moments of the same films, all alike, make nothing surer."""
    rng = np.random.default_rng(1)
    truth, scene = rng.normal(size=(30, 1)), np.arange(30)
    reading = truth + 0.5 * rng.normal(size=(30, 1))
    once = r2(truth, reading, scene)
    often = r2(truth.repeat(10, 0), reading.repeat(10, 0), scene.repeat(10))
    assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert (once.n, often.n, often.rows) == (30, 30, 300)


def test_balanced_accuracy_by_hand():
    truth, reading = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0])
    score = balanced_accuracy(truth, reading, np.arange(6))
    assert score.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert score.chance == 1 / 2


def test_always_the_frequent_class_is_at_chance():
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


def test_a_difference_of_readings_of_the_same_films_is_surer_than_either():
    """Two readers that err on the same films, one of them a little more: what both owe to the films cancels."""
    rng = np.random.default_rng(4)
    truth, scene = rng.normal(size=(60, 1)), np.arange(60)
    hard = rng.normal(size=(60, 1))
    better, worse = (r2_statistic(truth, truth + share * hard, scene) for share in (0.6, 0.7))
    value, low, high = difference(worse, better).interval()
    assert value == pytest.approx(worse.interval()[0] - better.interval()[0])
    assert high < 0
    assert better.interval()[2] - better.interval()[1] > 2 * (high - low)
    assert difference(better, better).interval() == (0, 0, 0)


def test_a_mean_of_numbers_by_hand():
    truth, scene = np.array([0, 0, 1, 1]), np.arange(4)
    half = recall_statistic(truth, np.array([0, 1, 1, 0]), scene)
    whole = recall_statistic(truth, truth, scene)
    assert mean([half, whole]).interval()[0] == pytest.approx(0.75)
    assert mean([half]).interval() == half.interval()
