"""The mean over trainings, worked by hand."""

import math

import pytest

from benchmarks.transfer_seeds import interval, table


def test_the_interval_of_three_trainings_worked_by_hand():
    """Values .6, .7, .8: mean .7, standard deviation .1, t of two degrees of freedom 4.303."""
    mean, low, high = interval([0.6, 0.7, 0.8])
    half = 4.303 * 0.1 / math.sqrt(3)
    assert (mean, low, high) == pytest.approx((0.7, 0.7 - half, 0.7 + half), abs=1e-4)


def test_one_training_has_no_interval():
    assert math.isnan(interval([0.6])[1])


def test_a_property_that_one_training_lacks_is_left_out():
    one = {("flat", "size"): {"model": 0.5, "pixel copy": 0.5}, ("flat", "shape"): {"model": 0.6}}
    text = table({"a": one, "b": {("flat", "size"): {"model": 0.7, "pixel copy": 0.5}}}, ["pixel copy"])
    assert "shape" not in text
    assert "| flat | size | 50.0 | 70.0 | 60.0 [0, 100] | 50.0 |" in text
