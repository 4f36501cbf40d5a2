"""Two kinds of pair in a quadruplet, and how often a scorer finds the impossible film the more surprising one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FILMS = (("a", "u"), ("b", "v"), ("a", "v"), ("b", "u"))
"""(context, outcome) of the four films: two possible, two impossible."""
TIE = 1e-6
SAME_CONTEXT = ((0, 2), (1, 3))
SAME_OUTCOME = ((0, 3), (1, 2))
"""(possible, impossible) by place in FILMS."""


def pair_scores(surprise: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Surprise [Q, 4] of films in the order of FILMS -> for each kind of pair [Q, 2]: 1 right, 0 wrong, 1/2 a tie."""
    kinds = {"same context": SAME_CONTEXT, "same outcome": SAME_OUTCOME}
    return {
        kind: np.stack([compare(surprise[:, possible], surprise[:, impossible]) for possible, impossible in pairs], axis=1)
        for kind, pairs in kinds.items()
    }


def quadruplet_scores(surprise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Surprise [Q, 4] -> the mean over a quadruplet's four pairs [Q]; chance is 1/2."""
    return np.concatenate(list(pair_scores(surprise).values()), axis=1).mean(1)


def compare(possible: NDArray[np.float64], impossible: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where the impossible film is more surprising, 0 where it is less, 1/2 for a tie, NaN where one is missing.

    Differences below TIE of their size are ties: the noise of float32, which depends on where in a batch a film stood.
    """
    possible, impossible = np.asarray(possible, float), np.asarray(impossible, float)
    difference = impossible - possible
    tie = np.abs(difference) <= TIE * np.maximum(np.abs(possible), np.abs(impossible))
    return np.where(np.isnan(difference), np.nan, np.where(tie, 0.5, np.where(difference > 0, 1.0, 0.0)))


def all_right(possible: NDArray[np.float64], impossible: NDArray[np.float64]) -> NDArray[np.float64]:
    """[groups, films] each -> [groups]: 1 where every impossible film is more surprising than every possible one, else 0."""
    return np.where(compare(possible.max(1), impossible.min(1)) == 1, 1.0, 0.0)
