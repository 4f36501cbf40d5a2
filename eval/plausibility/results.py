"""The result of one video as one JSON object. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from eval.plausibility.reference_distribution import FOLDS, MIN_SEGMENTS, WHITENED, ReferenceDistribution, VideoRank
from eval.plausibility.sliding_windows import (
    Values,
    WindowSurprise,
    copy_relative_surprise,
    mean_surprise,
    time_course,
)
from eval.plausibility.video_list import NamedClip
from eval.voe.surprise.windows import WindowPlan

DIGITS = 6  # significant ones


class LeastPlausible(TypedDict):
    """The segment of the lowest plausibility."""

    start_s: float | None
    stop_s: float | None
    plausibility: float | None


class ScorerResult(TypedDict):
    """Numbers of one scorer. Plausibilities are fractions from 0 to 1."""

    plausibility: float | None
    copy_adjusted_plausibility: float | None
    surprise: float | None
    copy_error: float | None
    copy_relative_surprise: float | None
    peak_s: float | None
    least_plausible: LeastPlausible


class ComparedWith(TypedDict):
    """What the video was compared with."""

    calibration_segments: int
    calibration_videos: int
    segment_s: float | None
    segments_of_video: int
    motion: list[float | None]  # lowest and highest


class Peak(TypedDict):
    """The token and the time with the highest surprise."""

    time_s: float | None
    row: int
    column: int
    surprise: float | None


class Spatial(TypedDict):
    """Surprise by token. Tokens form a square grid and are listed row by row from the top left."""

    grid_size: int
    mean: list[float | None]
    peak: Peak


class VideoResult(TypedDict):
    """One line of the output of `eval plausibility`. `surprise_over_time` is null at times without a forecast."""

    video: str
    plausibility: float | None
    copy_adjusted_plausibility: float | None
    scorer: str  # the scorer of both plausibilities
    scorers: dict[str, ScorerResult]
    compared_with: ComparedWith
    motion: float | None
    duration_s: float | None
    fps: float | None
    model_fps: float
    size_px: list[int]  # width, height
    times_s: list[float | None]
    surprise_over_time: dict[str, list[float | None]]
    spatial: Spatial | None
    notes: list[str]


def video_result(
    named: NamedClip, video: WindowSurprise, rank: VideoRank, distribution: ReferenceDistribution, is_own: bool
) -> VideoResult:
    """is_own: whether the video is one of the calibration videos."""
    plan, clip = distribution.plan, named.clip
    main = distribution.scorers[0]
    surprise, copy_error = by_scorer(video.surprise), by_scorer(video.copy_error)
    times = np.flatnonzero(video.window_counts)
    courses = {name: time_course(surprise[name], plan, video.frames)[times] for name in distribution.scorers}
    scorers: dict[str, ScorerResult] = {}
    for name in distribution.scorers:
        mean, copied = float(mean_surprise(surprise[name])), float(mean_surprise(copy_error[name]))
        least = rank.least_plausible(name)
        scorers[name] = {
            "plausibility": _short(rank.mean("plausibility", name)),
            "copy_adjusted_plausibility": _short(rank.mean("copy_adjusted", name)),
            "surprise": _short(mean),
            "copy_error": _short(copied),
            "copy_relative_surprise": _short(float(copy_relative_surprise(np.array(mean), np.array(copied)))),
            "peak_s": _short(float(times[np.argmax(courses[name])] / plan.fps)),
            "least_plausible": {
                "start_s": _short(least.first / plan.fps),
                "stop_s": _short((least.first + rank.frames) / plan.fps),
                "plausibility": _short(least.plausibility[name]),
            },
        }
    return {
        "video": named.name,
        "plausibility": scorers[main]["plausibility"],
        "copy_adjusted_plausibility": scorers[main]["copy_adjusted_plausibility"],
        "scorer": main,
        "scorers": scorers,
        "compared_with": _compared_with(rank, plan),
        "motion": _short(float(video.motion.mean())),
        "duration_s": _short(clip.stop_s - clip.start_s),
        "fps": _short(clip.fps),
        "model_fps": plan.fps,
        "size_px": [clip.width, clip.height],
        "times_s": [_short(time / plan.fps) for time in times],
        "surprise_over_time": {name: [_short(value) for value in course] for name, course in courses.items()},
        "spatial": spatial(video, main, plan),
        "notes": notes(named, rank, distribution, is_own),
    }


def by_scorer(values: Mapping[str, Values]) -> dict[str, Values]:
    """Replace the whitened values of the folds by their mean; others are unchanged."""
    folds = [f"{WHITENED} {fold}" for fold in range(FOLDS)]
    found = {name: array for name, array in values.items() if name not in folds}
    if all(name in values for name in folds):
        found[WHITENED] = np.mean([values[name] for name in folds], axis=0)
    return found


def token_course(video: WindowSurprise, scorer: str) -> Values | None:
    """Surprise by token [forecast frames, N], mean over windows; None for a single token or tokens that form no square."""
    total = by_scorer(video.token_surprise).get(scorer)
    if total is None or total.shape[1] == 1 or round(total.shape[1] ** 0.5) ** 2 != total.shape[1]:
        return None
    frames = np.flatnonzero(video.window_counts)
    return total[frames] / video.window_counts[frames, None]


def spatial(video: WindowSurprise, scorer: str, plan: WindowPlan) -> Spatial | None:
    """None where `token_course` is None."""
    course = token_course(video, scorer)
    if course is None:
        return None
    size = round(course.shape[1] ** 0.5)
    time, token = np.unravel_index(int(course.argmax()), course.shape)
    return {
        "grid_size": size,
        "mean": [_short(value) for value in course.mean(0)],
        "peak": {
            "time_s": _short(float(np.flatnonzero(video.window_counts)[time] / plan.fps)),
            "row": int(token) // size,
            "column": int(token) % size,
            "surprise": _short(float(course.max())),
        },
    }


def notes(named: NamedClip, rank: VideoRank, distribution: ReferenceDistribution, is_own: bool) -> list[str]:
    """Limits of the numbers that a reader must know."""
    plan, clip = distribution.plan, named.clip
    found = []
    fewest = min(len(segment.neighbours) for segment in rank.segments)
    if fewest < MIN_SEGMENTS:
        found.append(f"compared with only {fewest} calibration segments: plausibility is imprecise")
    if len(rank.segments) > 1:
        found.append(
            f"longer than the calibration videos: plausibility is the mean of {len(rank.segments)} segments of "
            f"{rank.frames / plan.fps:.3g} s"
        )
    own, others = [segment.motion for segment in rank.segments], rank.pool.motion[rank.neighbours]
    if max(own) > others.max():
        found.append(f"has more motion than every calibration video it is compared with ({max(own):.3g}; {others.max():.3g})")
    if min(own) < others.min():
        found.append(f"has less motion than every calibration video it is compared with ({min(own):.3g}; {others.min():.3g})")
    if clip.fps < plan.fps * 0.99:
        found.append(
            f"has {clip.fps:.4g} frames/s and is shown to the model at {plan.fps:.4g}: frames repeat, so motion is not smooth"
        )
    if is_own:
        found.append("is one of the calibration videos: compared with the others only")
    return found


def _compared_with(rank: VideoRank, plan: WindowPlan) -> ComparedWith:
    neighbours = rank.neighbours
    motion = rank.pool.motion[neighbours]
    return {
        "calibration_segments": len(neighbours),
        "calibration_videos": len(np.unique(rank.pool.video[neighbours])),
        "segment_s": _short(rank.frames / plan.fps),
        "segments_of_video": len(rank.segments),
        "motion": [_short(float(motion.min())), _short(float(motion.max()))],
    }


def _short(number: float) -> float | None:
    """Rounded to DIGITS; None for NaN and infinity, which JSON cannot hold."""
    return float(f"{number:.{DIGITS}g}") if np.isfinite(number) else None
