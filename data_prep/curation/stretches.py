"""Stretches of a video: shots without transitions, black and frozen parts. Pure functions of measurements per frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from data_prep.curation.cuts import find_cuts, find_static_cuts
from data_prep.curation.recipe import CurationRecipe, Decision


@dataclass(frozen=True)
class Stretch:
    """Frames [start, stop) of one shot, counted at the rate at which the video is examined."""

    shot: int  # number of the shot in the video, from 0
    start: int
    stop: int
    decision: Decision
    motion: float  # mean change from frame to frame, in grey levels of 255
    brightness: float  # mean grey level


def divide(
    change: NDArray[np.float64],
    score: NDArray[np.float64],
    std: NDArray[np.float64],
    brightness: NDArray[np.float64],
    recipe: CurationRecipe,
    transitions: Sequence[tuple[int, int]] = (),
) -> list[Stretch]:
    """Divide a video into stretches, in order, that together hold every frame.

    change, score: [T], of every frame that is examined; see `cuts.Changes`. std, brightness: [T], standard
    deviation and mean of its grey levels. transitions: frames [start, stop) that are blends of two shots;
    they belong to the first one.
    """
    least = max(2, round(recipe.stills.min_s * recipe.fps))
    cuts = {*find_cuts(score, recipe.cuts), *find_static_cuts(change, recipe.static_cuts)}
    found = []
    for shot, start, stop, is_transition in _parts(cuts, transitions, len(change)):
        inside = change[start:stop].copy()
        if len(inside) > 1:
            inside[0] = inside[1]  # the first frame of a shot differs from the shot before
        plain = _long_runs(std[start:stop] < recipe.stills.plain_std, least)
        frozen = _long_runs((inside < recipe.stills.frozen_change) & ~plain, least)
        kinds = np.where(plain, "black", np.where(frozen, "frozen", "used"))
        if is_transition:
            kinds = np.full(stop - start, "transition")
        bounds = [0, *(np.flatnonzero(kinds[1:] != kinds[:-1]) + 1).tolist(), stop - start]
        for first, last in pairwise(bounds):
            decision: Decision = str(kinds[first])  # type: ignore[assignment]  # one of the four above
            if decision == "used" and (last - first) / recipe.fps < recipe.min_stretch_s:
                decision = "short"
            steps = change[start + first + 1 : start + last]
            motion = float(steps.mean()) if len(steps) else 0.0
            level = float(brightness[start + first : start + last].mean())
            found.append(Stretch(shot, start + first, start + last, decision, motion, level))
    return found


def _parts(cuts: Iterable[int], transitions: Sequence[tuple[int, int]], count: int) -> Iterator[tuple[int, int, int, bool]]:
    """(shot, first frame, frame after the last, whether it is a transition). A shot begins at a cut and after a transition.

    Cuts in a transition, or beside it, are the same change of the picture.
    """
    starts, stops = {start for start, _ in transitions}, {stop for _, stop in transitions}
    hard = {cut for cut in cuts if not any(start - 1 <= cut <= stop + 1 for start, stop in transitions)}
    shot = 0
    for start, stop in pairwise(sorted({0, *hard, *starts, *stops, count})):
        shot += start in hard or start in stops
        yield shot, start, stop, start in starts


def _long_runs(flags: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """The flags without runs of fewer than `least` frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    kept = np.zeros_like(flags)
    for start, stop in edges.reshape(-1, 2):
        kept[start:stop] = stop - start >= least
    return kept
