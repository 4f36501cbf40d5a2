"""Forecast errors and forecast skill by horizon.

Pure numpy; intervals come from a bootstrap over videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from eval.intervals import bootstrap_of_sums

Values = NDArray[np.floating]
MIN_VIDEOS = 2


class _Interval(TypedDict):
    value: float
    low: float
    high: float
    n: int


class HorizonScore(_Interval, total=False):
    """A number at one horizon, with its 95 % interval over n videos.

    A skill also has its chance level, 0.
    """

    chance: float


Curve = list[HorizonScore | None]
"""One score per horizon; None where fewer than MIN_VIDEOS videos are scored."""


def mean_error(error: Values) -> Curve:
    """Mean error over videos at each horizon: errors [F, K], NaN where not scored."""
    return [_ratio(error[:, k], np.ones(len(error))) for k in range(error.shape[1])]


def skill(error: Values, baseline: Values) -> Curve:
    """Forecast skill, 1 - error / error of a baseline, both summed over the videos that have both:
    [F, K] twice."""
    found: Curve = []
    for k in range(error.shape[1]):
        ratio = _ratio(error[:, k], baseline[:, k])
        if ratio is not None:
            low, high = 1 - ratio["high"], 1 - ratio["low"]
            ratio = {"value": 1 - ratio["value"], "low": low, "high": high, "n": ratio["n"], "chance": 0.0}
        found.append(ratio)
    return found


def skills(errors: Mapping[str, Values], of: Sequence[str], against: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """Skill by forecast, then by baseline."""
    return {name: {other: skill(errors[name], errors[other]) for other in against} for name in of}


def others_mean(values: Values) -> Values:
    """For each video the mean over all other videos: [F, ...] -> [F, ...].

    The result for a video does not depend on that video.
    """
    total = values.sum(0, dtype=np.float64)
    return (total - values) / (len(values) - 1)


def _ratio(numerator: Values, denominator: Values) -> HorizonScore | None:
    """Ratio of sums over the videos that have both: [F] twice.

    None where fewer than two do, or the denominator is 0.
    """
    both = np.isfinite(numerator) & np.isfinite(denominator)
    if both.sum() < MIN_VIDEOS or not denominator[both].sum() > 0:
        return None
    sums = np.stack([numerator[both], denominator[both]], axis=1).astype(np.float64)
    value, low, high = bootstrap_of_sums(sums, _quotient)
    return {"value": value, "low": low, "high": high, "n": int(both.sum())}


def _quotient(total: Values) -> Values:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total[..., 1] > 0, total[..., 0] / total[..., 1], np.nan)
