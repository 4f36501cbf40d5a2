"""How wrong forecasts are by horizon, and how much less so than what knows nothing. Pure numpy; films are what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.intervals import bootstrap_of_sums

Values = NDArray[np.floating]
FEWEST = 2  # films


def mean_error(error: Values) -> list[dict[str, Any] | None]:
    """Errors [F, K] (NaN: not judged) -> at each horizon the mean over films, with its interval and n."""
    return [_ratio(error[:, k], np.ones(len(error))) for k in range(error.shape[1])]


def skill(error: Values, baseline: Values) -> list[dict[str, Any] | None]:
    """1 - error / error of a baseline, both summed over the films that have both: [F, K] twice."""
    found = []
    for k in range(error.shape[1]):
        it = _ratio(error[:, k], baseline[:, k])
        if it is not None:
            it = {"value": 1 - it["value"], "low": 1 - it["high"], "high": 1 - it["low"], "n": it["n"], "chance": 0.0}
        found.append(it)
    return found


def skills(errors: Mapping[str, Values], of: Sequence[str], against: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By forecast, then by baseline."""
    return {name: {other: skill(errors[name], errors[other]) for other in against} for name in of}


def others_mean(values: Values) -> Values:
    """[F, ...] -> the mean over all other films, for each [F, ...]: a constant that has not seen the film it is for."""
    total = values.sum(0, dtype=np.float64)
    return (total - values) / (len(values) - 1)


def _ratio(above: Values, below: Values) -> dict[str, Any] | None:
    """Sum over films of one over that of the other; None where fewer than two films have both, or nothing is below."""
    both = np.isfinite(above) & np.isfinite(below)
    if both.sum() < FEWEST or not below[both].sum() > 0:
        return None
    sums = np.stack([above[both], below[both]], axis=1).astype(np.float64)
    value, low, high = bootstrap_of_sums(sums, _quotient)
    return {"value": value, "low": low, "high": high, "n": int(both.sum())}


def _quotient(total: Values) -> Values:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total[..., 1] > 0, total[..., 0] / total[..., 1], np.nan)
