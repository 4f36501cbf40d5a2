"""Calibration on possible videos: error covariances, and a memory-free control variate.

Some outcomes have a high surprise in any context: an object that appears causes a larger error than
an empty scene. Of two outcomes of one context, the one with fewer objects then has less surprise,
possible or not. *Adjusted* surprise therefore subtracts a multiple of the whitened surprise of the
same model without memory, which sees the end of the context only. The remaining surprise is due to
the memory of the model. The slope of the subtraction is a least-squares fit over possible videos and
uses no labels. This is a control variate, close to the likelihood ratios of Ren et al. 2019 (whose
slope is 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.result_folder import read_result
from eval.voe.scorers import FULL_FIT, Fit
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments, Whitening
from eval.voe.surprise.windows import WindowKind
from worldmodel.files.atomic import write_json

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Calibration:
    """Statistics of a model's errors on possible videos.

    The default is an empty calibration: no whitened surprise.
    """

    whitening: Mapping[ErrorKey, Whitening] = field(default_factory=dict)
    control_slope: float | None = None  # of surprise on memory-free surprise; None where it is not known
    notes: tuple[str, ...] = ()  # for the reader: which possible videos could not be used

    def full_fits(self, windows: WindowKind) -> dict[str, Whitening]:
        """The full fits for a kind of window, by forecaster."""
        return {key.forecaster: it for key, it in self.whitening.items() if key.windows == windows and key.fit == FULL_FIT}

    def ablation_fits(self, windows: WindowKind) -> dict[Fit, Whitening]:
        """The other fits of the model's errors for a kind of window."""
        return {key.fit: it for key, it in self.whitening.items() if key.windows == windows and key.fit != FULL_FIT}


def fit_whitenings(moments: Mapping[ErrorKey, ErrorMoments]) -> dict[ErrorKey, Whitening]:
    """Fit a whitening to each of the moments.

    If the errors of a kind of window do not reach every horizon, those of all kinds are used.

    A fit for an ablation is left out where its errors do not reach every horizon. Raises ValueError
    where those of a full fit do not.
    """
    pooled: dict[tuple[str, Fit], ErrorMoments] = {}
    videos: dict[tuple[str, Fit], int] = {}
    for key, it in moments.items():
        group = key.forecaster, key.fit
        pooled.setdefault(group, it.empty_like()).merge(it)
        videos[group] = max(videos.get(group, 0), it.videos)  # all kinds of window are cut from the same videos
    found = {}
    for key, it in moments.items():
        group = key.forecaster, key.fit
        enough = it if it.can_be_fitted or videos[group] < 2 else pooled[group]
        if enough.can_be_fitted or key.fit == FULL_FIT:
            found[key] = Whitening.fit(enough)
    return found


@dataclass(frozen=True)
class SlopeSums:
    """Sufficient statistics for the least-squares slope of surprise on memory-free surprise.

    One point per window; x is memory-free surprise, y is surprise.
    """

    count: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    @classmethod
    def of_points(cls, memory_free: Values, surprise: Values) -> SlopeSums:
        x, y = np.asarray(memory_free, float).ravel(), np.asarray(surprise, float).ravel()
        return cls(float(x.size), float(x.sum()), float(y.sum()), float((x * x).sum()), float((x * y).sum()))

    def __add__(self, other: SlopeSums) -> SlopeSums:
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return SlopeSums(*(mine + theirs for mine, theirs in pairs))

    @property
    def slope(self) -> float | None:
        """None where memory-free surprise does not vary."""
        spread = self.xx - self.x * self.x / self.count if self.count else 0.0
        return (self.xy - self.x * self.y / self.count) / spread if spread > 1e-12 * self.xx else None


def save_slope_sums(path: Path, sums: SlopeSums) -> None:
    write_json(path, asdict(sums))


def load_slope_sums(paths: Sequence[Path]) -> SlopeSums:
    """The sum over several files."""
    return sum((SlopeSums(**read_result(path)) for path in paths), SlopeSums())
