"""Accuracy against a quantity of the trial: how large the change is, how long it is hidden. Locked windows, spliced trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.intervals import bootstrap_mean
from eval.voe.scores.scoreboard import Cell, Scoreboard
from eval.voe.trials import Trial

BINS = 4
Values = NDArray[np.float64]


def magnitude(trial: Trial) -> float | None:
    return trial.magnitude


def occlusion_s(trial: Trial) -> float | None:
    """Seconds out of sight."""
    return None if trial.occlusion is None else (trial.occlusion[1] - trial.occlusion[0]) / trial.films[0].fps


def curves(board: Scoreboard, scorers: Sequence[str], of: Callable[[Trial], float | None]) -> dict[str, Any]:
    """scorer -> property -> bins; properties in which the quantity does not vary are left out."""
    x = np.array([np.nan if (value := of(trial)) is None else value for trial in board.trials], float)
    found: dict[str, Any] = {}
    for scorer in scorers:
        if ("locked", scorer) not in board.rows:
            continue
        y = board.scores("locked", scorer, board.main_kind)
        for name in board.properties:
            for places in board.strata(Cell(name, spliced=True)):
                known = places[np.isfinite(x[places]) & np.isfinite(y[places])]
                if bins := bin_means(x[known], y[known]):
                    found.setdefault(scorer, {})[name] = bins
    return found


def bin_means(x: Values, y: Values, bins: int = BINS) -> list[dict[str, Any]]:
    """Mean of y in bins of x of about equal n, split at quantiles; equal x stay together. Empty where x is one number."""
    if not len(x) or np.ptp(x) <= 1e-9 * np.abs(x).max():
        return []
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    found = []
    for index in np.unique(place):
        inside = place == index
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
