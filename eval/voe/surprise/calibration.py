"""What is usual on lawful films: a model's errors, and how far an outcome surprises whoever remembers nothing.

An outcome can be surprising by itself: a thing that appears is worth more error than nothing at all, whatever the context.
Of two outcomes of one context the emptier one then wins, right or wrong. *Adjusted* surprise takes away what is foretold of
it by the (whitened) surprise of the same model shown the end of the context alone; what is left is owed to what it
remembers. The share that is taken away is the least-squares slope over lawful films: no label is looked at. It is a control
variate, close to the likelihood ratios of Ren et al. 2019 (slope 1 there).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.result_folder import read_result
from eval.voe.surprise.whitening import ErrorMoments, Whitening
from worldmodel.files.atomic import write_json

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Usual:
    """`whitening` by "<kind of window>/<forecaster>"; `foretold` is the slope, None where it is not known.

    `notes` tell the reader which possible videos could not be used.
    """

    whitening: Mapping[str, Whitening] = field(default_factory=dict)
    foretold: float | None = None
    notes: tuple[str, ...] = ()

    def of(self, kind: str) -> dict[str, Whitening]:
        """What whitens errors in windows of a kind, by forecaster."""
        prefix = f"{kind}/"
        return {name.removeprefix(prefix): fit for name, fit in self.whitening.items() if name.startswith(prefix)}


def fit_all(moments: Mapping[str, ErrorMoments]) -> dict[str, Whitening]:
    """Fits by the same names. A kind of window whose errors do not reach every horizon takes those of all kinds together.

    A fit to fewer films ("model, 25 films") is left out where these do not reach every horizon. Raises ValueError where the
    errors of a forecaster do not.
    """
    pooled: dict[str, ErrorMoments] = {}
    films: dict[str, int] = {}
    for name, it in moments.items():
        forecaster = name.partition("/")[2]
        pooled.setdefault(forecaster, it.like()).merge(it)
        films[forecaster] = max(films.get(forecaster, 0), it.films)  # all kinds of window are cut from the same films
    found = {}
    for name, it in moments.items():
        forecaster = name.partition("/")[2]
        together = pooled[forecaster]
        enough = it if it.can_be_fitted or films[forecaster] < 2 else together
        if enough.can_be_fitted or ", " not in forecaster:
            found[name] = Whitening.fit(enough)
    return found


@dataclass(frozen=True)
class Line:
    """Sums over windows of lawful films, of which the slope of surprise on surprise without memory is made."""

    count: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    @classmethod
    def through(cls, without_memory: Values, surprise: Values) -> Line:
        x, y = np.asarray(without_memory, float).ravel(), np.asarray(surprise, float).ravel()
        return cls(float(x.size), float(x.sum()), float(y.sum()), float((x * x).sum()), float((x * y).sum()))

    def __add__(self, other: Line) -> Line:
        return Line(*(mine + theirs for mine, theirs in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    @property
    def slope(self) -> float | None:
        """None where surprise without memory never changes."""
        spread = self.xx - self.x * self.x / self.count if self.count else 0.0
        return (self.xy - self.x * self.y / self.count) / spread if spread > 1e-12 * self.xx else None


def save_line(path: Path, line: Line) -> None:
    write_json(path, asdict(line))


def load_lines(paths: Sequence[Path]) -> Line:
    """Of several files, together."""
    return sum((Line(**read_result(path)) for path in paths), Line())
