"""Psychometric curves: accuracy in locked windows against a quantity of the trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from eval.intervals import bootstrap_mean
from eval.voe.scorers import ScorerId
from eval.voe.scores.scoreboard import Cell, Scoreboard
from eval.voe.trials import Trial

BINS = 4
Values = NDArray[np.float64]
Bin = TypedDict("Bin", {"from": float, "to": float, "value": float, "low": float, "high": float, "n": int})
"""Mean and 95 % interval of the trials whose quantity lies between two values, both included."""


def magnitude(trial: Trial) -> float | None:
    """The size of the violation, in the unit of its property."""
    return trial.magnitude


def occlusion_s(trial: Trial) -> float | None:
    """Seconds of full occlusion."""
    hidden = trial.occluded_frames
    return None if hidden is None else (hidden[1] - hidden[0]) / trial.videos[0].fps


def curves(
    board: Scoreboard, scorers: Sequence[ScorerId], quantity: Callable[[Trial], float | None]
) -> dict[str, dict[str, list[Bin]]]:
    """scorer -> property -> bins. Properties in which the quantity does not vary are left out."""
    x = np.array([np.nan if (value := quantity(trial)) is None else value for trial in board.trials], float)
    found: dict[str, dict[str, list[Bin]]] = {}
    for scorer in scorers:
        if ("locked", scorer) not in board.rows:
            continue
        y = board.scores("locked", scorer, board.main_kind)
        for name in board.properties:
            for trials in board.strata(Cell(name, spliced=True)):
                known = trials[np.isfinite(x[trials]) & np.isfinite(y[trials])]
                if bins := bin_means(x[known], y[known]):
                    found.setdefault(str(scorer), {})[name] = bins
    return found


def bin_means(x: Values, y: Values, bins: int = BINS) -> list[Bin]:
    """Mean of y in bins of x with about equal n, split at quantiles.

    Equal x stay together, and of at most `bins` different x each has a bin of its own. Empty where x
    is constant.
    """
    if not len(x) or np.ptp(x) <= 1e-9 * np.abs(x).max():
        return []
    values = np.unique(x)
    if len(values) <= bins:
        bin_of = np.searchsorted(values, x)
    else:
        edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)))
        bin_of = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    found: list[Bin] = []
    for index in np.unique(bin_of):
        inside = bin_of == index
        value, low, high = bootstrap_mean([y[inside]])
        found.append(
            {
                "from": float(x[inside].min()),
                "to": float(x[inside].max()),
                "value": value,
                "low": low,
                "high": high,
                "n": int(inside.sum()),
            }
        )
    return found
