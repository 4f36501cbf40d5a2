"""The summary of benchmarks.transfer_memory, worked by hand."""

import numpy as np

from benchmarks.transfer_memory import summary


def test_a_small_effect_behind_a_large_difference_of_outcomes_shows_in_sums_only() -> None:
    """Outcome v surprises by 1 more than u whatever the context; the impossible outcomes add 0.1 each."""
    surprise = np.array([[0.0, 1.0, 1.1, 0.1]])  # (a, u), (b, v) possible; (a, v), (b, u) impossible
    assert summary(surprise) == "pairs  75, sums 100, effect 10.00 %"


def test_equal_surprises_are_chance() -> None:
    assert summary(np.zeros((3, 4))) == "pairs  50, sums  50, effect  0.00 %"
