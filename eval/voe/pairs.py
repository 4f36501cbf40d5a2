"""Pairs of a quadruplet, and how often the impossible video has the higher surprise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

QUADRUPLET = (("a", "u"), ("b", "v"), ("a", "v"), ("b", "u"))
"""(context, outcome) of the four videos: two possible ones, then two impossible ones."""
TIE_TOLERANCE = 1e-6
SAME_CONTEXT = ((0, 2), (1, 3))
SAME_OUTCOME = ((0, 3), (1, 2))
"""(possible, impossible) as indices into QUADRUPLET."""


def pair_scores(surprise: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Score both kinds of pair: surprise [Q, 4] in the order of QUADRUPLET -> [Q, 2] per kind."""
    kinds = {"same context": SAME_CONTEXT, "same outcome": SAME_OUTCOME}
    return {
        kind: np.stack([score_pairs(surprise[:, possible], surprise[:, impossible]) for possible, impossible in pairs], axis=1)
        for kind, pairs in kinds.items()
    }


def quadruplet_scores(surprise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Surprise [Q, 4] -> the mean over the four pairs of each quadruplet [Q]. Chance is 1/2."""
    return np.concatenate(list(pair_scores(surprise).values()), axis=1).mean(1)


def score_pairs(possible: NDArray[np.float64], impossible: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where the impossible video has the higher surprise, 0 the lower, 1/2 a tie, NaN unknown.

    Differences below TIE_TOLERANCE of the values are ties. They are float32 noise, which depends on
    a video's index in a batch.
    """
    possible, impossible = np.asarray(possible, float), np.asarray(impossible, float)
    difference = impossible - possible
    tie = np.abs(difference) <= TIE_TOLERANCE * np.maximum(np.abs(possible), np.abs(impossible))
    return np.where(np.isnan(difference), np.nan, np.where(tie, 0.5, np.where(difference > 0, 1.0, 0.0)))


def strictly_ordered(possible: NDArray[np.float64], impossible: NDArray[np.float64]) -> NDArray[np.float64]:
    """[groups, videos] -> [groups]: 1 where all impossible videos surpass all possible ones."""
    return np.where(score_pairs(possible.max(1), impossible.min(1)) == 1, 1.0, 0.0)
