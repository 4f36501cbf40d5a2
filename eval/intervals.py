"""Uncertainty of scores: bootstrap over groups, Wilson intervals, sign-flip tests, Holm correction.

Pure numpy and scipy. All random numbers are seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from scipy.stats import t as student

RESAMPLES = 2000
FLIPS = 9999
EXACT_UP_TO = 12  # groups: all 2^12 sign patterns are evaluated
SEED = 0

Values = NDArray[np.float64]


def bootstrap_mean(strata: Sequence[Values]) -> tuple[float, float, float]:
    """Mean over strata of the mean over groups, with its 95 % interval: (mean, low, high).

    Groups are resampled within their stratum. Percentiles are used because BCa is undefined where
    all groups are correct. Only the count of each distinct value is drawn, which is faster: scores
    of pairs have few distinct values.
    """
    means, drawn = 0.0, np.zeros(RESAMPLES)
    for index, values in enumerate(strata):
        distinct, count = np.unique(values, return_counts=True)
        rng = np.random.default_rng((SEED, index))
        draws = rng.multinomial(len(values), count / len(values), size=RESAMPLES)
        means += float(np.einsum("d,d->", count, distinct)) / len(values)
        drawn += np.einsum("rd,d->r", draws, distinct) / len(values)
    low, high = np.quantile(drawn / len(strata), (0.025, 0.975))
    return means / len(strata), float(low), float(high)


def bootstrap_crossed(strata: Sequence[Values]) -> tuple[float, float, float]:
    """(mean, low, high) of groups that several networks scored: strata of [networks, groups].

    Networks are resampled, the same for all strata, and groups within their stratum (the pigeonhole
    bootstrap, Owen 2007). The interval therefore includes the variation between networks.
    Resampled means of few networks never lie outside the range of those networks, so the interval
    is at least as wide as Student's t interval over networks. With one network it is over groups
    alone.
    """
    networks = len(strata[0])
    weights = _resampling_weights(0, networks)
    drawn = np.zeros(RESAMPLES)
    for index, values in enumerate(strata, start=1):
        groups = _resampling_weights(index, values.shape[1])
        drawn += np.einsum("rn,rn->r", weights, np.einsum("rg,ng->rn", groups, values, optimize=True))
    low, high = np.quantile(drawn / len(strata), (0.025, 0.975))
    by_network = np.mean([values.mean(1) for values in strata], axis=0)
    mean = by_network.mean()
    half = student.ppf(0.975, networks - 1) * by_network.std(ddof=1) / networks**0.5 if networks > 1 else 0.0
    return float(mean), float(min(low, mean - half)), float(max(high, mean + half))


@lru_cache(maxsize=64)
def _resampling_weights(index: int, count: int) -> Values:
    """[RESAMPLES, count]: the fraction of draws that select each item."""
    return np.random.default_rng((SEED, index)).multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count


def bootstrap_of_sums(
    sums: NDArray[np.floating], statistic: Callable[[NDArray[np.floating]], NDArray[np.floating]]
) -> tuple[float, float, float]:
    """(value, low, high) of a statistic of sums over groups, with its 95 % percentile interval.

    sums [G, Q]: what each group adds. statistic: sums over groups [..., Q] -> [...]; NaN where it
    has no value.
    """
    rng = np.random.default_rng(SEED)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    drawn = statistic(np.einsum("rg,gq->rq", draws.astype(float), sums))
    low, high = np.nanquantile(drawn, (0.025, 0.975)) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return float(statistic(sums.sum(0))), float(low), float(high)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a plain proportion (Wilson 1927)."""
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def sign_flip_p(strata: Sequence[Values]) -> float:
    """Two-sided p-value that differences between paired groups are symmetric about 0.

    strata: [groups] each. The statistic is the mean over strata of their means. Groups without a
    difference do not count. Exact for few groups, else from FLIPS random sign patterns, with the
    observed pattern counted among them.
    """
    weighted = np.concatenate([values / len(values) / len(strata) for values in strata])
    weighted = weighted[weighted != 0]
    if not len(weighted):
        return 1.0
    observed = abs(weighted.sum()) - 1e-9 * np.abs(weighted).sum()  # sums in another order differ in the last digits
    if len(weighted) <= EXACT_UP_TO:
        return float((np.abs(weighted @ _all_signs(len(weighted))) >= observed).mean())
    capacity = 1 << (len(weighted) - 1).bit_length()
    # einsum, not @: BLAS threads slow each other down in thousands of such small sums
    flipped = np.abs(np.einsum("g,gf->f", weighted, _random_signs(capacity)[: len(weighted)]))
    return (int((flipped >= observed).sum()) + 1) / (FLIPS + 1)


@lru_cache(maxsize=EXACT_UP_TO)
def _all_signs(groups: int) -> Values:
    """[groups, 2^groups]."""
    return (1.0 - 2.0 * (np.arange(2**groups) >> np.arange(groups)[:, None] & 1)).astype(np.float64)


@lru_cache(maxsize=8)
def _random_signs(groups: int) -> Values:
    """[groups, FLIPS]."""
    rng = np.random.default_rng((SEED, groups))
    return (rng.integers(0, 2, (groups, FLIPS), dtype=np.int8) * 2.0 - 1.0).astype(np.float64)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Corrected p-values of a family of tests (Holm 1979)."""
    corrected, highest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = highest
    return corrected


def correct_family(family: Iterable[Any]) -> None:
    """Add Holm's p_holm to every record of a family that has a p."""
    tested = {str(index): it for index, it in enumerate(family) if it.get("p") is not None}
    for index, p in holm({index: it["p"] for index, it in tested.items()}).items():
        tested[index]["p_holm"] = p
