"""Intervals and tests, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eval.intervals import EXACT_UP_TO, FLIPS, bootstrap_crossed, bootstrap_mean, holm, sign_flip_p, wilson


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_mean([np.ones(40)]) == (1.0, 1.0, 1.0)
    assert bootstrap_mean([np.full(7, 0.5), np.full(3, 0.5)]) == (0.5, 0.5, 0.5)


def test_properties_count_equally_however_many_groups_they_have():
    mean, low, high = bootstrap_mean([np.ones(90), np.zeros(10)])
    assert (mean, low, high) == (0.5, 0.5, 0.5)  # groups are drawn within their property: nothing can vary


def test_bootstrap_of_a_coin_has_the_width_of_its_binomial():
    values = np.repeat([0.0, 1.0], 50)
    mean, low, high = bootstrap_mean([values])
    assert mean == 0.5
    # 2.5 % and 97.5 % of a binomial of 100 at one half are 40 and 60
    assert low == pytest.approx(0.40, abs=0.011)
    assert high == pytest.approx(0.60, abs=0.011)
    assert (mean, low, high) == bootstrap_mean([values[::-1]])  # seeded, and independent of the order


def test_bootstrap_equals_resampling_by_index():
    values = np.random.default_rng(0).random(30)
    generator = np.random.default_rng(1)
    drawn = values[generator.integers(0, 30, (20000, 30))].mean(1)
    expected = np.quantile(drawn, (0.025, 0.975))
    assert bootstrap_mean([values])[1:] == pytest.approx(expected, abs=0.006)


def test_intervals_cover_the_truth_in_95_percent():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        _, low, high = bootstrap_mean([(rng.random(100) < 0.8).astype(float)])
        held += low <= 0.8 <= high
    assert 180 <= held <= 199  # 95 % of 200 = 190, within sampling error


def test_networks_are_resampled_as_well_as_groups():
    """One network is always right and the other always wrong: the mean is one half, the interval 0 to 1."""
    one_way = np.stack([np.ones(100), np.zeros(100)])
    assert bootstrap_mean([one_way.mean(0)]) == (0.5, 0.5, 0.5)
    mean, low, high = bootstrap_crossed([one_way])
    assert mean == 0.5
    assert low <= 0 < 1 <= high
    assert bootstrap_crossed([one_way, one_way[::-1]]) == pytest.approx((0.5, 0.5, 0.5))  # drawn for both


def test_networks_that_agree_leave_the_interval_of_the_groups():
    groups = np.repeat([0.0, 1.0], 50)
    crossed = bootstrap_crossed([np.stack([groups] * 3)])
    assert crossed == pytest.approx(bootstrap_mean([groups]), abs=0.011)


@pytest.mark.parametrize("networks", [3, 10])
def test_intervals_over_networks_cover_one_half_when_networks_deviate_at_random(networks: int):
    """Each network has a bias that all groups share: intervals over groups alone miss one half far too often."""
    rng = np.random.default_rng(4)
    held = {"groups": 0, "crossed": 0}
    for _ in range(100):
        lean = 0.5 + 0.1 * rng.standard_normal((networks, 1))
        right = (rng.random((networks, 100)) < lean).astype(float)
        for name, (_, low, high) in {"groups": bootstrap_mean([right.mean(0)]), "crossed": bootstrap_crossed([right])}.items():
            held[name] += low <= 0.5 <= high
    assert held["groups"] < 75 < 90 <= held["crossed"]


def test_one_network_leaves_the_interval_of_its_groups():
    groups = np.repeat([0.0, 1.0], 50)
    assert bootstrap_crossed([groups[None]]) == pytest.approx(bootstrap_mean([groups]), abs=0.011)


def test_wilson_by_hand():
    # (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), p = 1, n = 6, z = 1.96: 1 / (1 + 3.8416/6)
    low, high = wilson(6, 6)
    assert low == pytest.approx(1 / (1 + 3.8416 / 6), abs=1e-4)
    assert high == pytest.approx(1.0)


def test_four_groups_flipped_by_hand():
    # all 16 patterns of +-1 +-1 +-1 +-1; |sum| = 4 in two
    assert sign_flip_p([np.ones(4)]) == 2 / 16
    # 3 +-1 with one group of 2: observed sum 2+1+1-1 = 3; |sum| >= 3: 5 (1 pattern), 3 (3 patterns), and the same mirrored
    assert sign_flip_p([np.array([2.0, 1.0, 1.0, -1.0])]) == 8 / 16


def test_groups_without_a_difference_do_not_count():
    assert sign_flip_p([np.zeros(5)]) == 1.0
    assert sign_flip_p([np.array([1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0])]) == 2 / 16
    assert sign_flip_p([np.concatenate([np.ones(4), np.zeros(200)])]) == 2 / 16  # few groups differ: exact


def test_flips_weigh_properties_equally():
    # a group of the property with one group weighs 1/2, of that with two 1/4: observed 1/2 - 1/4 - 1/4 = 0
    assert sign_flip_p([np.array([1.0]), np.array([-1.0, -1.0])]) == 1.0


def test_many_groups_are_flipped_at_random_and_never_give_zero():
    assert sign_flip_p([np.ones(100)]) == 1 / (FLIPS + 1)
    mixed = np.repeat([1.0, -1.0], 50)
    assert sign_flip_p([mixed]) == 1.0  # the observed sum is 0: every pattern is at least as far from 0
    assert sign_flip_p([mixed]) == sign_flip_p([mixed])


def test_random_flips_agree_with_the_binomial():
    # 10 of 13 of one sign: 2 (1 + 13 + 78 + 286) / 2^13
    assert EXACT_UP_TO < 13
    assert sign_flip_p([np.array([1.0] * 10 + [-1.0] * 3)]) == pytest.approx(756 / 8192, abs=0.01)
    # 9 of 12: 2 (1 + 12 + 66 + 220) / 2^12, all enumerated
    assert sign_flip_p([np.array([1.0] * 9 + [-1.0] * 3)]) == 598 / 4096


def test_p_values_of_noise_are_uniform():
    rng = np.random.default_rng(5)
    p = np.array([sign_flip_p([rng.normal(size=20)]) for _ in range(300)])
    assert 0.02 <= (p < 0.05).mean() <= 0.09
    assert 0.4 <= (p < 0.5).mean() <= 0.6


def test_holm_by_hand():
    # sorted .01 x 4, .02 x 3, .03 x 2 -> .06, then .04 x 1 lifted to the one before it
    corrected = holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02})
    assert corrected == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}
