"""A film as it was watched, and its place among lawful ones -> the numbers a reader gets. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.plausibility.reference_distribution import FEWEST, FOLDS, WHITENED, Standing, Yardstick
from eval.plausibility.sliding_windows import Values, Watched, copy_share, mean_surprise, time_course
from eval.plausibility.video_list import Named
from eval.voe.surprise.windows import WindowPlan

DIGITS = 6  # significant ones


def result(named: Named, watched: Watched, standing: Standing, yardstick: Yardstick, is_lawful: bool) -> dict[str, Any]:
    """One object of the JSON. Plausibilities are shares 0 to 1; `over_time` is null where nothing is judged."""
    plan, clip = yardstick.plan, named.clip
    main = yardstick.scorers[0]
    surprise, copying = by_scorer(watched.surprise), by_scorer(watched.copying)
    times = np.flatnonzero(watched.judged)
    courses = {name: time_course(surprise[name], plan, watched.frames)[times] for name in yardstick.scorers}
    scorers = {}
    for name in yardstick.scorers:
        mine, copied = float(mean_surprise(surprise[name])), float(mean_surprise(copying[name]))
        least = standing.least(name)
        scorers[name] = {
            "plausibility": _short(standing.mean("plausibility", name)),
            "copy_adjusted_plausibility": _short(standing.mean("copy_adjusted", name)),
            "surprise": _short(mine),
            "error_of_copying": _short(copied),
            "copy_share": _short(float(copy_share(np.array(mine), np.array(copied)))),
            "peak_s": _short(float(times[np.argmax(courses[name])] / plan.fps)),
            "least_plausible": {
                "start_s": _short(least.first / plan.fps),
                "stop_s": _short((least.first + standing.frames) / plan.fps),
                "plausibility": _short(least.plausibility[name]),
            },
        }
    return {
        "film": named.name,
        "plausibility": scorers[main]["plausibility"],
        "copy_adjusted_plausibility": scorers[main]["copy_adjusted_plausibility"],
        "scorer": main,
        "scorers": scorers,
        "compared_with": _compared(standing, plan),
        "motion": _short(float(watched.motion.mean())),
        "seconds": _short(clip.frames / clip.fps),
        "fps": _short(clip.fps),
        "seen_fps": plan.fps,
        "size_px": [clip.width, clip.height],
        "times_s": [_short(time / plan.fps) for time in times],
        "over_time": {name: [_short(value) for value in course] for name, course in courses.items()},
        "where": where(watched, main, plan),
        "notes": notes(named, standing, yardstick, is_lawful),
    }


def by_scorer(values: Mapping[str, Values]) -> dict[str, Values]:
    """Whitened surprise as both folds have it, averaged; the rest as it is."""
    folds = [f"{WHITENED} {fold}" for fold in range(FOLDS)]
    found = {name: array for name, array in values.items() if name not in folds}
    if all(name in values for name in folds):
        found[WHITENED] = np.mean([values[name] for name in folds], axis=0)
    return found


def place_course(watched: Watched, scorer: str) -> Values | None:
    """[judged frames, N]: surprise by place, mean over the windows that judge a frame; None for one place, or no square."""
    total = by_scorer(watched.places).get(scorer)
    if total is None or total.shape[1] == 1 or round(total.shape[1] ** 0.5) ** 2 != total.shape[1]:
        return None
    judged = np.flatnonzero(watched.judged)
    return total[judged] / watched.judged[judged, None]


def where(watched: Watched, scorer: str, plan: WindowPlan) -> dict[str, Any] | None:
    """Places are a square, row by row from the top left."""
    course = place_course(watched, scorer)
    if course is None:
        return None
    side = round(course.shape[1] ** 0.5)
    moment, place = np.unravel_index(int(course.argmax()), course.shape)
    return {
        "side": side,
        "mean": [_short(value) for value in course.mean(0)],
        "peak": {
            "time_s": _short(float(np.flatnonzero(watched.judged)[moment] / plan.fps)),
            "row": int(place) // side,
            "column": int(place) % side,
            "surprise": _short(float(course.max())),
        },
    }


def notes(named: Named, standing: Standing, yardstick: Yardstick, is_lawful: bool) -> list[str]:
    """What a reader must know to believe the numbers, in plain words."""
    plan, clip = yardstick.plan, named.clip
    found = []
    beside = np.unique(np.concatenate([part.beside for part in standing.parts]))
    least = min(len(part.beside) for part in standing.parts)
    if least < FEWEST:
        found.append(f"only {least} lawful stretches to compare with: plausibility is rough")
    if len(standing.parts) > 1:
        found.append(
            f"longer than lawful films reach: plausibility is the mean of {len(standing.parts)} stretches of "
            f"{standing.frames / plan.fps:.3g} s"
        )
    moves, theirs = [part.motion for part in standing.parts], standing.pool.motion[beside]
    if max(moves) > theirs.max():
        found.append(f"moves more than every lawful film it is compared with ({max(moves):.3g} to {theirs.max():.3g})")
    if min(moves) < theirs.min():
        found.append(f"moves less than every lawful film it is compared with ({min(moves):.3g} to {theirs.min():.3g})")
    if clip.fps < plan.fps * 0.99:
        found.append(f"has {clip.fps:.4g} frames/s and is seen at {plan.fps:.4g}: frames repeat, which looks like jerks")
    if is_lawful:
        found.append("is one of the lawful films itself: compared with the others")
    return found


def _compared(standing: Standing, plan: WindowPlan) -> dict[str, Any]:
    beside = np.unique(np.concatenate([part.beside for part in standing.parts]))
    motion = standing.pool.motion[beside]
    return {
        "lawful_stretches": len(beside),
        "lawful_films": len(np.unique(standing.pool.film[beside])),
        "seconds": _short(standing.frames / plan.fps),
        "stretches_of_it": len(standing.parts),
        "motion": [_short(float(motion.min())), _short(float(motion.max()))],
    }


def _short(number: float) -> float | None:
    return float(f"{number:.{DIGITS}g}") if np.isfinite(number) else None
