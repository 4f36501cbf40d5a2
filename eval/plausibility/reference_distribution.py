"""Plausibility of a video: its rank among calibration videos, which are possible videos. Pure numpy.

Calibration videos are cut into segments as long as the video. `plausibility` is the fraction of the segments with the most
similar motion that surprise the model at least as much (a conformal p-value). A video in which nothing happens is easy to
forecast and is therefore plausible. `copy_adjusted` plausibility corrects for this: it compares surprise relative to the
error of the copy baseline, with all calibration segments of the same length and any motion.

Whitened surprise is cross-fitted. A calibration video is whitened with the errors on the videos of the other fold. A new
video is whitened once per fold, and compared with the calibration videos of that fold (cross-conformal prediction, Vovk 2015).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eval.plausibility.sliding_windows import (
    Values,
    WindowSurprise,
    copy_relative_surprise,
    mean_surprise,
    time_course,
)
from eval.voe.surprise.windows import WindowPlan

MIN_SEGMENTS = 30  # calibration segments that a video is compared with, if there are as many
NEAREST_QUARTER = 4  # of more segments, the quarter with the most similar motion
QUANTILES = (0.5, 0.95)  # of the surprise at all times of the calibration videos; drawn as horizontal levels
DISTANCE, WHITENED = "latent distance", "whitened"
FOLDS = 2


@dataclass(frozen=True)
class CalibrationVideo:
    """Surprise of the model on one calibration video."""

    name: str  # of the file: videos of one file are in one fold, and none is compared with itself
    fold: int
    result: WindowSurprise  # by "latent distance", and by "whitened" as its fold is whitened


@dataclass(frozen=True)
class SegmentPool:
    """M calibration segments of one length; arrays are [M]."""

    video: NDArray[np.int64]  # index in ReferenceDistribution.videos
    fold: NDArray[np.int64]
    motion: Values
    surprise: dict[str, Values]  # by scorer
    copy_error: dict[str, Values]

    def nearest(self, motion: float, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The allowed segments with the most similar motion; half of them move less and half more, if there are enough."""
        indices = np.flatnonzero(allowed)
        indices = indices[np.argsort(self.motion[indices], kind="stable")]
        count = min(len(indices), max(MIN_SEGMENTS, len(indices) // NEAREST_QUARTER))
        first = int(np.searchsorted(self.motion[indices], motion)) - count // 2
        first = min(max(first, 0), len(indices) - count)
        return indices[first : first + count]


@dataclass(frozen=True)
class SegmentRank:
    """One segment of a video among the calibration segments. Dictionaries are by scorer."""

    first: int  # frame
    motion: float
    surprise: dict[str, float]
    plausibility: dict[str, float]
    copy_adjusted: dict[str, float]
    neighbours: NDArray[np.int64]  # indices in the pool of the segments with the most similar motion


@dataclass(frozen=True)
class VideoRank:
    """A video among the calibration videos. A video longer than they are is evaluated in segments of equal length."""

    frames: int  # per segment
    segments: Sequence[SegmentRank]
    pool: SegmentPool

    def mean(self, field: Literal["plausibility", "copy_adjusted"], scorer: str) -> float:
        """Mean over segments."""
        return float(np.mean([getattr(segment, field)[scorer] for segment in self.segments]))

    def least_plausible(self, scorer: str) -> SegmentRank:
        """The segment of the lowest plausibility; of several, the one with the highest surprise."""
        return min(self.segments, key=lambda segment: (segment.plausibility[scorer], -segment.surprise[scorer]))

    @property
    def neighbours(self) -> NDArray[np.int64]:
        """Indices in the pool of all segments that the video was compared with."""
        return np.unique(np.concatenate([segment.neighbours for segment in self.segments]))


class ReferenceDistribution:
    """The surprise of the calibration videos, with which other videos are compared."""

    def __init__(self, videos: Sequence[CalibrationVideo], plan: WindowPlan) -> None:
        self.videos, self.plan = videos, plan
        self._pools: dict[int, SegmentPool] = {}

    @property
    def scorers(self) -> list[str]:
        """Names of scorers: "whitened" first, if the videos were whitened, then "latent distance"."""
        return [name for name in (WHITENED, DISTANCE) if all(name in video.result.surprise for video in self.videos)]

    def rank(self, video: WindowSurprise, own: Collection[str] = ()) -> VideoRank:
        """Rank a video, evaluated by "latent distance", "whitened 0" and "whitened 1" (one per fold).

        own: names of calibration files that contain this video. The video is then compared only with other files and, if
        errors are whitened, only with its own fold, whose whitening was fitted without it. Raises ValueError if none remains.
        """
        frames = self.segment_frames(video.frames)
        pool = self.pool(frames)
        allowed = np.full(len(pool.video), True)
        if contained := [it for it in self.videos if it.name in own]:
            allowed = np.array([self.videos[index].name not in own for index in pool.video], bool)
            if WHITENED in self.scorers:
                allowed &= pool.fold == contained[0].fold
        if not allowed.any():
            raise ValueError("there is no other calibration video to compare it with")
        spare = max(0, video.frames - frames) // self.plan.stride
        starts = np.unique(np.round(np.linspace(0, spare, -(-video.frames // frames))).astype(int))
        return VideoRank(frames, [self._rank(video, int(start), frames, pool, allowed) for start in starts], pool)

    def segment_frames(self, frames: int) -> int:
        """Length of the segments in which a video of `frames` frames is compared.

        This is the length of the video if there are MIN_SEGMENTS calibration segments as long. Otherwise it is the longest
        length with as many segments, or else the longest of the lengths with the most segments.
        """
        available = np.array([video.result.frames for video in self.videos])
        lengths = [frames, *reversed(range(self.plan.frames, min(frames, int(available.max()) + 1), self.plan.stride))]
        counts = [sum(len(self._starts(one, length)) for one in available[available >= length].tolist()) for length in lengths]
        enough = next((length for length, count in zip(lengths, counts, strict=True) if count >= MIN_SEGMENTS), None)
        if enough is None and not max(counts):
            raise ValueError(
                f"all calibration videos are shorter than this video ({frames} frames) and than a window "
                f"({self.plan.frames} frames)"
            )
        return enough or lengths[int(np.argmax(counts))]

    def pool(self, frames: int) -> SegmentPool:
        """Calibration videos cut into successive segments of `frames` frames."""
        if frames not in self._pools:
            where = [
                (index, start) for index, video in enumerate(self.videos) for start in self._starts(video.result.frames, frames)
            ]
            cuts = [cut(self.videos[index].result, start, frames, self.plan) for index, start in where]
            self._pools[frames] = SegmentPool(
                video=np.array([index for index, _ in where], np.int64),
                fold=np.array([self.videos[index].fold for index, _ in where], np.int64),
                motion=np.array([float(it.motion.mean()) for it in cuts]),
                surprise={name: np.array([float(mean_surprise(it.surprise[name])) for it in cuts]) for name in self.scorers},
                copy_error={
                    name: np.array([float(mean_surprise(it.copy_error[name])) for it in cuts]) for name in self.scorers
                },
            )
        return self._pools[frames]

    @cached_property
    def quantiles(self) -> dict[str, tuple[float, ...]]:
        """By scorer: QUANTILES of the surprise at all times of all calibration videos."""
        found = {}
        for name in self.scorers:
            courses = [time_course(it.result.surprise[name], self.plan, it.result.frames) for it in self.videos]
            found[name] = tuple(np.nanquantile(np.concatenate(courses), QUANTILES).tolist())
        return found

    def _rank(
        self, video: WindowSurprise, start: int, frames: int, pool: SegmentPool, allowed: NDArray[np.bool_]
    ) -> SegmentRank:
        segment = cut(video, start, frames, self.plan)
        motion = float(segment.motion.mean())
        neighbours, everyone = pool.nearest(motion, allowed), np.flatnonzero(allowed)
        means, plausibility, adjusted = {}, {}, {}
        for name in self.scorers:
            keys = [f"{name} {fold}" if name == WHITENED else name for fold in range(FOLDS)]
            surprise, copy_error = (
                np.array([float(mean_surprise(values[key])) for key in keys])
                for values in (segment.surprise, segment.copy_error)
            )
            means[name] = float(surprise.mean())
            plausibility[name] = float((pool.surprise[name][neighbours] >= surprise[pool.fold[neighbours]]).mean())
            pool_relative = copy_relative_surprise(pool.surprise[name], pool.copy_error[name])[everyone]
            relative = copy_relative_surprise(surprise, copy_error)[pool.fold[everyone]]
            adjusted[name] = float((pool_relative >= relative).mean())
        return SegmentRank(start * self.plan.stride, motion, means, plausibility, adjusted, neighbours)

    def _starts(self, available: int, frames: int) -> range:
        """First windows of the segments, without common frames, of a calibration video of `available` frames."""
        whole = max(frames, min(self.plan.frames, available))  # a segment shorter than a window still needs that window
        last = (available - whole) // self.plan.stride if available >= frames else -1
        return range(0, last + 1, -(-frames // self.plan.stride))


def cut(video: WindowSurprise, start: int, frames: int, plan: WindowPlan) -> WindowSurprise:
    """`frames` frames of a video from window `start` on. If this is less than a window, later steps become NaN."""
    stop = start + max(0, frames - plan.frames) // plan.stride + 1
    included = np.full((len(plan.contexts), plan.horizon), True)
    if frames < plan.frames:
        ends = np.array(plan.contexts)[:, None] + (1 + np.arange(plan.horizon)) * plan.tubelet_size
        included = ends <= frames

    def of(values: Mapping[str, Values]) -> dict[str, Values]:
        return {name: np.where(included, array[start:stop], np.nan) for name, array in values.items()}

    first = start * plan.stride
    return WindowSurprise(
        surprise=of(video.surprise),
        copy_error=of(video.copy_error),
        motion=video.motion[start:stop, : frames - 1],
        token_surprise={name: array[first : first + frames] for name, array in video.token_surprise.items()},
        window_counts=video.window_counts[first : first + frames],
    )
