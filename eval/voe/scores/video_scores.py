"""Traces -> one number a film: the mean over windows of the mean over steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eval.voe.surprise.traces import Traces

SAME_S = 1e-6  # moments that lie nearer than this are one
Values = NDArray[np.float64]
Codes = NDArray[np.integer]


@dataclass(frozen=True)
class ScorerTrace:
    """All rows of one scorer in one kind of window. Films, windows and moments are places in lists, so that sums are counts."""

    film: Codes  # [rows] place in a list of film ids
    window: Codes  # [rows] place in start_s and context_s
    moment: Codes  # [rows] place in times_s
    surprise: Values  # [rows]
    films: int
    start_s: Values  # [windows]
    context_s: Values  # [windows]
    times_s: Values  # [moments]

    def contexts(self) -> list[float]:
        """Context lengths that occur, in seconds, shortest first."""
        return np.unique(self.context_s[np.bincount(self.window, minlength=len(self.context_s)) > 0]).tolist()

    def at(self, context_s: float | None) -> ScorerTrace:
        """Rows of one context length; all for None."""
        if context_s is None:
            return self
        keep = self._of_length(context_s)[self.window]
        return replace(
            self, film=self.film[keep], window=self.window[keep], moment=self.moment[keep], surprise=self.surprise[keep]
        )

    def film_mean(self, context_s: float | None = None) -> Values:
        """[films]: mean over windows of the mean over steps; NaN for films without rows."""
        mean, there = self._by_window
        columns = self._of_length(context_s)
        with np.errstate(invalid="ignore"):
            return np.where(there, mean, 0.0)[:, columns].sum(1) / there[:, columns].sum(1)

    def film_max(self, context_s: float | None = None) -> Values:
        """[films]: the most surprising window. A diagnostic: sums of it favour the impossible side for any scorer."""
        mean, there = self._by_window
        columns = self._of_length(context_s)
        most = np.where(there, mean, -np.inf)[:, columns].max(1, initial=-np.inf)
        return np.where(np.isneginf(most), np.nan, most)

    def time_course(self, film: int) -> tuple[Values, Values]:
        """(times, surprise) of a film: at each moment, the mean over the windows that judge it."""
        mine = self.film == film
        count = np.bincount(self.moment[mine], minlength=len(self.times_s))
        total = np.bincount(self.moment[mine], self.surprise[mine], len(self.times_s))
        judged = np.flatnonzero(count)
        judged = judged[np.argsort(self.times_s[judged])]
        return self.times_s[judged], total[judged] / count[judged]

    def peaks_s(self) -> Values:
        """[films]: the moment at which a film's time course is highest, the first of equals; NaN for films without rows."""
        order = np.argsort(self.times_s)
        mean, there = _table(self.film, self.moment, self.surprise, self.films, len(self.times_s))
        course = np.where(there & ~np.isnan(mean), mean, -np.inf)[:, order]
        return np.where(there.any(1), self.times_s[order][course.argmax(1)], np.nan)

    def _of_length(self, context_s: float | None) -> NDArray[np.bool_]:
        return np.full(len(self.context_s), True) if context_s is None else np.abs(self.context_s - context_s) < SAME_S

    @cached_property
    def _by_window(self) -> tuple[Values, NDArray[np.bool_]]:
        """Mean over steps [films, windows], and where there are any."""
        return _table(self.film, self.window, self.surprise, self.films, len(self.start_s))


def _table(row: Codes, column: Codes, values: Values, rows: int, columns: int) -> tuple[Values, NDArray[np.bool_]]:
    """Means of values by row and column, and where there are any."""
    key = row.astype(np.int64) * columns + column
    count = np.bincount(key, minlength=rows * columns).reshape(rows, columns)
    with np.errstate(invalid="ignore"):
        return np.bincount(key, values, rows * columns).reshape(rows, columns) / count, count > 0


def by_scorer(traces: Traces, films: Sequence[str]) -> dict[tuple[str, str], ScorerTrace]:
    """(windows, scorer) -> its rows, in the order of the table; films that are not in the list are passed over."""
    place_of = {film: place for place, film in enumerate(films)}
    places = np.array([place_of.get(name, -1) for name in traces.categories("film_id")], np.int32)
    scorers, windows = traces.categories("scorer"), traces.categories("windows")
    if not len(places):
        return {}
    film = places[traces.codes("film_id")]
    # numpy sorts 16-bit keys by radix: a second for ten million rows
    key = traces.codes("scorer") * len(windows) + traces.codes("windows")
    order = np.argsort(key.astype(np.min_scalar_type(len(scorers) * len(windows))), kind="stable")
    if (film < 0).any():
        order = order[film[order] >= 0]
    start, starts_s = _merged(*traces.coded("window_start_s"))
    context, contexts_s = _merged(*traces.coded("context_s"))
    moment, times_s = _merged(*traces.coded("time_s"))
    cut = start * len(contexts_s) + context
    occurs = np.bincount(cut, minlength=len(starts_s) * len(contexts_s)) > 0
    cuts = np.flatnonzero(occurs)
    window = (np.cumsum(occurs, dtype=np.int32) - 1)[cut]
    sorted_key = key[order]
    bounds = np.flatnonzero(np.diff(sorted_key, prepend=-1))
    film, window, moment, surprise = film[order], window[order], moment[order], traces.column("surprise")[order]
    found = {}
    for first, last in zip(bounds.tolist(), [*bounds[1:].tolist(), len(order)], strict=True):
        scorer, kind = divmod(int(sorted_key[first]), len(windows))
        rows = slice(first, last)
        used, window_of_row = np.unique(window[rows], return_inverse=True)
        start_of, context_of = np.divmod(cuts[used], len(contexts_s))
        found[windows[kind], scorers[scorer]] = ScorerTrace(
            film=film[rows],
            window=window_of_row,
            moment=moment[rows],
            surprise=surprise[rows],
            films=len(films),
            start_s=starts_s[start_of],
            context_s=contexts_s[context_of],
            times_s=times_s,
        )
    return found


def _merged(codes: Codes, values: Values) -> tuple[Codes, Values]:
    """Codes of values that are as good as equal become one."""
    _, first, place = np.unique(np.round(values / SAME_S), return_index=True, return_inverse=True)
    return place.astype(np.int32)[codes], values[first]
