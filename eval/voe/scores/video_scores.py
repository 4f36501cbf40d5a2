"""Traces -> one number per video: the mean over windows of the mean over steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eval.voe.scorers import ScorerId
from eval.voe.surprise.traces import Traces

TIME_TOLERANCE_S = 1e-6  # times that differ by less are equal
Values = NDArray[np.float64]
Codes = NDArray[np.integer]


@dataclass(frozen=True)
class ScorerTrace:
    """All rows of one scorer in one kind of window.

    Videos, windows and times are indices into lists.
    """

    video: Codes  # [rows] index of the video
    window: Codes  # [rows] index into start_s and context_s
    time: Codes  # [rows] index into times_s
    surprise: Values  # [rows]
    videos: int
    start_s: Values  # [windows]
    context_s: Values  # [windows]
    times_s: Values  # [times]

    def contexts(self) -> list[float]:
        """The context lengths that occur, in seconds, shortest first."""
        return np.unique(self.context_s[np.bincount(self.window, minlength=len(self.context_s)) > 0]).tolist()

    def at(self, context_s: float | None) -> ScorerTrace:
        """The rows of one context length; all rows for None."""
        if context_s is None:
            return self
        keep = self._of_length(context_s)[self.window]
        return replace(
            self, video=self.video[keep], window=self.window[keep], time=self.time[keep], surprise=self.surprise[keep]
        )

    def video_mean(self, context_s: float | None = None) -> Values:
        """[videos]: the mean over windows of the mean over steps; NaN for videos without rows."""
        mean, present = self._by_window
        columns = self._of_length(context_s)
        with np.errstate(invalid="ignore"):
            return np.where(present, mean, 0.0)[:, columns].sum(1) / present[:, columns].sum(1)

    def video_max(self, context_s: float | None = None) -> Values:
        """[videos]: the highest mean of a window.

        This is a diagnostic: sums of maxima favour the impossible videos for any scorer.
        """
        mean, present = self._by_window
        columns = self._of_length(context_s)
        most = np.where(present, mean, -np.inf)[:, columns].max(1, initial=-np.inf)
        return np.where(np.isneginf(most), np.nan, most)

    def time_course(self, video: int) -> tuple[Values, Values]:
        """(times, surprise) of a video: at each time the mean over the windows that cover it."""
        mine = self.video == video
        count = np.bincount(self.time[mine], minlength=len(self.times_s))
        total = np.bincount(self.time[mine], self.surprise[mine], len(self.times_s))
        covered = np.flatnonzero(count)
        covered = covered[np.argsort(self.times_s[covered])]
        return self.times_s[covered], total[covered] / count[covered]

    def peaks_s(self) -> Values:
        """[videos]: the first time at which the time course is highest; NaN without rows."""
        order = np.argsort(self.times_s)
        mean, present = _mean_table(self.video, self.time, self.surprise, self.videos, len(self.times_s))
        course = np.where(present & ~np.isnan(mean), mean, -np.inf)[:, order]
        return np.where(present.any(1), self.times_s[order][course.argmax(1)], np.nan)

    def _of_length(self, context_s: float | None) -> NDArray[np.bool_]:
        if context_s is None:
            return np.full(len(self.context_s), True)
        return np.abs(self.context_s - context_s) < TIME_TOLERANCE_S

    @cached_property
    def _by_window(self) -> tuple[Values, NDArray[np.bool_]]:
        """The mean over steps [videos, windows], and where there are any."""
        return _mean_table(self.video, self.window, self.surprise, self.videos, len(self.start_s))


def _mean_table(row: Codes, column: Codes, values: Values, rows: int, columns: int) -> tuple[Values, NDArray[np.bool_]]:
    """Means of values by row and column [rows, columns], and where there are any."""
    key = row.astype(np.int64) * columns + column
    count = np.bincount(key, minlength=rows * columns).reshape(rows, columns)
    with np.errstate(invalid="ignore"):
        return np.bincount(key, values, rows * columns).reshape(rows, columns) / count, count > 0


def traces_by_scorer(traces: Traces, video_ids: Sequence[str]) -> dict[tuple[str, ScorerId], ScorerTrace]:
    """(kind of window, scorer) -> its rows. Videos that are not in the list are left out.

    Raises ValueError for a scorer that is not known.
    """
    index_of = {video_id: index for index, video_id in enumerate(video_ids)}
    indices = np.array([index_of.get(name, -1) for name in traces.categories("video_id")], np.int32)
    scorers, windows = [ScorerId.parse(name) for name in traces.categories("scorer")], traces.categories("windows")
    if not len(indices):
        return {}
    video = indices[traces.codes("video_id")]
    # numpy sorts 16-bit keys by radix: a second for ten million rows
    key = traces.codes("scorer") * len(windows) + traces.codes("windows")
    order = np.argsort(key.astype(np.min_scalar_type(len(scorers) * len(windows))), kind="stable")
    if (video < 0).any():
        order = order[video[order] >= 0]
    start, starts_s = _merge_equal(*traces.coded("window_start_s"))
    context, contexts_s = _merge_equal(*traces.coded("context_s"))
    time, times_s = _merge_equal(*traces.coded("time_s"))
    cut = start * len(contexts_s) + context
    occurs = np.bincount(cut, minlength=len(starts_s) * len(contexts_s)) > 0
    cuts = np.flatnonzero(occurs)
    window = (np.cumsum(occurs, dtype=np.int32) - 1)[cut]
    sorted_key = key[order]
    bounds = np.flatnonzero(np.diff(sorted_key, prepend=-1))
    video, window, time, surprise = video[order], window[order], time[order], traces.column("surprise")[order]
    found = {}
    for first, last in zip(bounds.tolist(), [*bounds[1:].tolist(), len(order)], strict=True):
        scorer, kind = divmod(int(sorted_key[first]), len(windows))
        rows = slice(first, last)
        used, window_of_row = np.unique(window[rows], return_inverse=True)
        start_of, context_of = np.divmod(cuts[used], len(contexts_s))
        found[windows[kind], scorers[scorer]] = ScorerTrace(
            video=video[rows],
            window=window_of_row,
            time=time[rows],
            surprise=surprise[rows],
            videos=len(video_ids),
            start_s=starts_s[start_of],
            context_s=contexts_s[context_of],
            times_s=times_s,
        )
    return found


def _merge_equal(codes: Codes, values: Values) -> tuple[Codes, Values]:
    """Give values that are equal but for rounding the same code."""
    _, first, index = np.unique(np.round(values / TIME_TOLERANCE_S), return_index=True, return_inverse=True)
    return index.astype(np.int32)[codes], values[first]
