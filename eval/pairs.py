"""Two kinds of pair in a quadruplet, and how often a scorer finds the impossible film the more surprising one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FILMS = (("a", "u"), ("b", "v"), ("a", "v"), ("b", "u"))
"""(context, outcome) of the four films: two possible, two impossible."""
SAME_CONTEXT = ((0, 2), (1, 3))
SAME_OUTCOME = ((0, 3), (1, 2))
"""(possible, impossible) by place in FILMS."""


def pair_scores(surprise: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Surprise [Q, 4] of films in the order of FILMS -> for each kind of pair [Q, 2]: 1 right, 0 wrong, 1/2 a tie."""
    kinds = {"same context": SAME_CONTEXT, "same outcome": SAME_OUTCOME}
    return {
        kind: np.stack([_compare(surprise[:, possible], surprise[:, impossible]) for possible, impossible in pairs], axis=1)
        for kind, pairs in kinds.items()
    }


def quadruplet_scores(surprise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Surprise [Q, 4] -> the mean over a quadruplet's four pairs [Q]; chance is 1/2."""
    return np.concatenate(list(pair_scores(surprise).values()), axis=1).mean(1)


def score_films(score: Mapping[tuple[str, str], float]) -> NDArray[np.float64]:
    """One quadruplet's surprises by (context, outcome) -> [4]."""
    return np.array([score[film] for film in FILMS])


def _compare(possible: NDArray[np.float64], impossible: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(impossible > possible, 1.0, np.where(impossible < possible, 0.0, 0.5))
