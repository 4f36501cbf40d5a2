"""Forecast skill worked by hand."""

import numpy as np
import pytest

from eval.forecasts.skill import mean_error, others_mean, skill


def test_skill_by_hand():
    error, baseline = np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([[4.0, 1.0], [4.0, 1.0]])
    first, second = skill(error, baseline)
    assert first["value"] == pytest.approx(1 - 4 / 8)
    assert second["value"] == pytest.approx(1 - 4 / 2)  # worse than the baseline
    assert first["low"] <= first["value"] <= first["high"]
    assert first["low"] == pytest.approx(1 - 3 / 4)  # the worst resample has the second video twice


def test_a_forecast_has_no_skill_against_itself():
    error = np.random.default_rng(0).random((20, 3))
    for entry in skill(error, error):
        assert (entry["value"], entry["low"], entry["high"], entry["n"]) == (0, 0, 0, 20)


def test_only_videos_with_both_errors_count():
    error = np.array([[1.0], [1.0], [np.nan], [5.0]])
    baseline = np.array([[2.0], [2.0], [2.0], [np.nan]])
    (found,) = skill(error, baseline)
    assert (found["value"], found["n"]) == (0.5, 2)
    assert skill(error[2:], baseline[2:]) == [None]
    assert skill(error[:2], 0 * baseline[:2]) == [None]  # the baseline has no error: no ratio


def test_mean_error_by_hand():
    (found,) = mean_error(np.array([[1.0], [2.0], [np.nan], [6.0]]))
    assert (found["value"], found["n"]) == (3.0, 3)


def test_the_mean_of_others_leaves_out_the_video_itself():
    values = np.array([[1.0], [2.0], [6.0]])
    assert others_mean(values).tolist() == [[4.0], [3.5], [1.5]]
