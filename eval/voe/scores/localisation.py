"""Localisation: does the surprise at an impossible video peak when the violation becomes visible?"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from eval.voe.scorers import ScorerId
from eval.voe.scores.scoreboard import Cell, Scoreboard

DELTA_S = 0.25  # how near to the reveal a peak of surprise must be
ROUNDING_S = 1e-6


class Localisation(TypedDict):
    """Of the impossible videos of one property."""

    fraction: float  # of videos whose surprise peaks within delta_s of the reveal
    n: int  # videos
    delta_s: float
    lag_s: float  # median of the peak's time minus the reveal's


def localisation(board: Scoreboard, scorer: ScorerId) -> dict[str, Localisation]:
    """How near the peaks of surprise are to the reveal, by property, on split test.

    Sliding windows of the scorer's context length are used. The time course of a video is the mean over
    windows at each time.
    """
    peaks = board.rows["sliding", scorer].at(board.context("sliding", scorer)).peaks_s()
    lags: dict[str, list[float]] = {"all": []}
    for trials in board.strata(Cell()):
        for index in trials.tolist():
            trial, first = board.trials[index], int(board.first_video[index])
            for number, video in enumerate(trial.videos):
                peak = peaks[first + number]
                if video.label is False and trial.reveal_frame is not None and np.isfinite(peak):
                    lag = float(peak - trial.reveal_frame / video.fps)
                    lags["all"].append(lag)
                    lags.setdefault(trial.property, []).append(lag)
    return {
        name: {
            "fraction": float((np.abs(some) <= DELTA_S + ROUNDING_S).mean()),
            "n": len(some),
            "delta_s": DELTA_S,
            "lag_s": float(np.median(some)),
        }
        for name, some in lags.items()
        if some
    }
