"""Does surprise at an impossible film peak when the impossible can be seen?"""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.voe.scores.scoreboard import Cell, Scoreboard

DELTA_S = 0.25  # how near to the reveal a peak of surprise must lie
ROUNDING_S = 1e-6


def localisation(board: Scoreboard, scorer: str) -> dict[str, Any]:
    """By property: share of impossible films of split test whose surprise peaks within DELTA_S of the reveal, and the median
    lag, s. Free windows at the scorer's context length; a film's time course is the mean over windows at each moment."""
    peaks = board.rows["free", scorer].at(board.context("free", scorer)).peaks_s()
    lags: dict[str, list[float]] = {"all": []}
    for places in board.strata(Cell()):
        for index in places.tolist():
            trial, first = board.trials[index], int(board.first_film[index])
            for place, film in enumerate(trial.films):
                if film.label is False and trial.reveal is not None and np.isfinite(peaks[first + place]):
                    lag = float(peaks[first + place] - trial.reveal / film.fps)
                    lags["all"].append(lag)
                    lags.setdefault(trial.property, []).append(lag)
    return {
        name: {
            "share": float((np.abs(some) <= DELTA_S + ROUNDING_S).mean()),
            "n": len(some),
            "delta_s": DELTA_S,
            "lag_s": float(np.median(some)),
        }
        for name, some in lags.items()
        if some
    }
