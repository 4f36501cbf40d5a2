"""Rank correlations of numbers of checkpoints with their success, with intervals over checkpoints or over runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]
RESAMPLES = 1000
SEED = 0
TRAINING = "training"  # the group of the training step
FEWEST = 4  # checkpoints
RUNS = 5  # from so many runs on, runs are resampled and not checkpoints


class Correlation(TypedDict):
    """A rank correlation with its 95 % interval."""

    value: float
    low: float
    high: float


class NumberOfCheckpoints(TypedDict):
    """How a number of the checkpoints goes with their success."""

    group: str  # training, offline, health or loss
    name: str
    n: int  # checkpoints that have the number
    success: Correlation | None  # None where either of them is the same in all checkpoints
    beyond_step: Correlation | None  # the same with the training step held constant
    nearness: Correlation | None  # with the negative median distance at the end of the episodes


def spearman(x: Array, y: Array) -> float:
    """Rank correlation of [n] and [n]; ties share their mean rank. NaN where either is constant."""
    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (x, y))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")


def partial_spearman(x: Array, y: Array, given: Array) -> float:
    """Rank correlation of x and y with the ranks of a third number held constant; NaN where that leaves nothing."""
    xy, xz, yz = spearman(x, y), spearman(x, given), spearman(y, given)
    rest = (1 - xz**2) * (1 - yz**2)
    return float((xy - xz * yz) / np.sqrt(rest)) if rest > 1e-12 else float("nan")


def correlate(
    numbers: Sequence[Mapping[str, float]], groups: Mapping[str, str], success: Array, nearness: Array, step: Array, run: Array
) -> list[NumberOfCheckpoints]:
    """Correlations of every number, the strongest first.

    numbers: of each checkpoint, by name. groups: of each name. success, nearness, step, run (its number): [checkpoints].
    """
    found = []
    for name, group in groups.items():
        values = np.array([it.get(name, np.nan) for it in numbers])
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < FEWEST:
            continue
        draws, mine = resampled(run[known]), values[known]
        found.append(
            NumberOfCheckpoints(
                group=group,
                name=name,
                n=len(known),
                success=_with_interval(spearman, draws, mine, success[known]),
                beyond_step=None
                if group == TRAINING
                else _with_interval(partial_spearman, draws, mine, success[known], step[known]),
                nearness=_with_interval(spearman, draws, mine, nearness[known]),
            )
        )
    return sorted(found, key=lambda it: -abs(it["success"]["value"]) if it["success"] else 1.0)


def resampled(run: Array) -> list[NDArray[np.int64]]:
    """Rows of all, then rows drawn with replacement: whole runs where there are enough of them, else checkpoints."""
    rng, rows = np.random.default_rng(SEED), np.arange(len(run))
    runs = [rows[run == number] for number in np.unique(run)]
    units = runs if len(runs) >= RUNS else [rows[index : index + 1] for index in rows]
    drawn = [np.concatenate([units[i] for i in rng.integers(len(units), size=len(units))]) for _ in range(RESAMPLES)]
    return [rows, *drawn]


def _with_interval(statistic: Callable[..., float], draws: Sequence[NDArray[np.int64]], *columns: Array) -> Correlation | None:
    """The statistic of the columns, with its percentile interval over `draws`, the first of which is all rows."""
    value, *drawn = (statistic(*(column[rows] for column in columns)) for rows in draws)
    if not np.isfinite(value):
        return None
    low, high = np.nanquantile(drawn, (0.025, 0.975)) if np.isfinite(drawn).any() else (-1.0, 1.0)
    return Correlation(value=value, low=float(low), high=float(high))
