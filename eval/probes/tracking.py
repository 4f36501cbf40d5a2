"""Object permanence as tracking: where does the model take a thing to be that it cannot see?

A probe of position is fitted on moments when the body is in sight, and reads forecasts of moments when not a pixel of it
shows. The context ends when it is last seen. Errors are in widths of the body as it appears.

Beside it, from the truth: the place where it was last seen (copy), and constant velocity. Two that know nothing of the
body: the mean place of hidden bodies in other films, and the middle of the occluders in the picture as it is then; whoever
is no better than these knows where things hide, not where this one is. And the same probe on the context's last latents, on
latents of what came (in which the body is hidden, too), on an untrained network and on raw pixels.

Bodies at rest are found by copying. So they stand apart from those that moved when they were last seen: a choice made
from the context, not from what came. Where a latent is of its own moment alone, a picture in which the body is hidden has
nothing of it, and a perfect forecast of that latent has nothing either: whether such a model remembers shows in what it
forecasts for after the reveal (eval.probes.triage).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.physics.rendering.clip import OCCLUDER_ID
from eval.intervals import bootstrap_of_sums
from eval.probes.evaluation import CONSTANT_VELOCITY, SEEN_STEPS, extrapolate, last_place
from eval.probes.gathering import MODEL, Films, gather
from eval.probes.ground_truth import read_segmentation
from eval.probes.linear import Folded, scene_folds
from eval.probes.recordings import Recording
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
LEAST_HIDDEN = 2  # steps
MOVES_WIDTHS_S = 1.0  # a body that was slower when last seen counts as at rest
FORECAST, COPY = f"{MODEL}: forecast", "copy (last place)"
OTHERS, OCCLUDER = "mean place in other films", "middle of the occluders"
GROUPS = ("moving when last seen", "at rest when last seen", "all")


@dataclass(frozen=True)
class Passage:
    """A body goes out of sight: steps [cut, cut + steps) it is in the picture, and not a pixel shows."""

    film: int
    cut: int
    steps: int
    moves: bool


def passages(films: Films) -> list[Passage]:
    """The first of each film that lasts, after the body was in sight for long enough to know its way."""
    cohort, found = films.cohort, []
    centre, sight = cohort.body_track()
    glimpsed, hidden = glimpses(films)
    for film, truth in enumerate(cohort.truths):
        for cut, steps in _runs(hidden[film]):
            if steps >= LEAST_HIDDEN and sight[film, :cut].sum() >= SEEN_STEPS:
                _, pace = extrapolate(centre[None, film, :cut], glimpsed[None, film, :cut], 1)
                width = truth.width_px[cohort.shown[film][cut - 1], truth.body]
                speed_widths_s = float(np.linalg.norm(pace) / width / cohort.step_s)
                found.append(Passage(film, cut, steps, speed_widths_s >= MOVES_WIDTHS_S))
                break
    return found


def glimpses(films: Films) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether any of the body shows at the end of a step, and whether nothing does all through it: [F, S] twice."""
    cohort = films.cohort
    glimpsed, hidden = np.zeros((2, len(cohort.truths), cohort.steps), bool)
    for film, (truth, shown) in enumerate(zip(cohort.truths, cohort.shown, strict=True)):
        if truth.body is not None:
            there, gone = truth.in_picture[:, truth.body], truth.hidden[:, truth.body]
            glimpsed[film] = (there & ~gone)[shown]
            begins = np.minimum(np.concatenate([[0], shown[:-1] + 1]), shown)
            hidden[film] = [gone[first : last + 1].all() for first, last in zip(begins, shown, strict=True)]
    return glimpsed, hidden


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, length) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def track(
    films: Films, nets: Mapping[str, WorldModel], probes: Mapping[str, Folded], device: torch.device
) -> dict[str, Any] | None:
    """Errors by group, then source, then time hidden; None where no body goes out of sight.

    `probes`: of position, from one moment, by network; each film is read by one that was fitted on other films.
    """
    by_cut: dict[int, list[Passage]] = defaultdict(list)
    for passage in passages(films):
        by_cut[passage.cut].append(passage)
    groups = [by_cut[cut] for cut in sorted(by_cut)]
    passed = [it for group in groups for it in group]
    if not passed:
        return None
    asked = [([films.clips[it.film] for it in group], {group[0].cut: max(it.steps for it in group)}) for group in groups]
    recorded = gather("going out of sight", nets, asked, films.frames, device)
    most = max(it.steps for it in passed)
    parts = [_places(films, group, it, probes, most) for group, it in zip(groups, recorded, strict=True)]
    places = {source: np.concatenate([part[source] for part in parts]) for source in parts[0]}
    there, widths = (np.stack(some) for some in zip(*(_hidden(films, it, most) for it in passed), strict=True))
    fold = scene_folds(np.array([it.film for it in passed]), films.cohort.folds)
    places[OTHERS] = np.stack([_mean_place(there[fold != mine]) for mine in fold])
    places[OCCLUDER] = np.stack([_occluders(films, it, most) for it in passed])
    errors = {source: np.linalg.norm(some - there, axis=2) / widths for source, some in places.items()}
    moves = np.array([it.moves for it in passed])
    chosen = {GROUPS[0]: moves, GROUPS[1]: ~moves, GROUPS[2]: np.ones(len(moves), bool)}
    times = [f"{(step + 1) * films.cohort.step_s:.3g}" for step in range(most)]
    return {
        name: {source: _curve(error[rows], times) for source, error in errors.items()}
        for name, rows in chosen.items()
        if rows.any()
    }


def _hidden(films: Films, passage: Passage, most: int) -> tuple[Values, Values]:
    """The body's true place [most, 2] and width [most] at each step hidden, px; NaN when it is so no longer."""
    truth, shown = films.cohort.truths[passage.film], films.cohort.shown[passage.film]
    place, width = np.full((most, 2), np.nan), np.full(most, np.nan)
    frames = shown[passage.cut : passage.cut + passage.steps]
    place[: passage.steps], width[: passage.steps] = truth.centre_px[frames, truth.body], truth.width_px[frames, truth.body]
    return place, width


def _places(
    films: Films, group: Sequence[Passage], recordings: Mapping[str, Recording], probes: Mapping[str, Folded], most: int
) -> dict[str, Values]:
    """Where each source takes the bodies to be, of passages with one cut: [R, most, 2] px, NaN beyond what is asked."""
    cohort, cut = films.cohort, group[0].cut
    film, here = np.array([it.film for it in group]), np.arange(len(group))
    centre, glimpsed = cohort.body_track()[0][film], glimpses(films)[0][film]
    places: dict[str, list[Values]] = defaultdict(list)
    for horizon in range(1, max(it.steps for it in group) + 1):
        places[COPY].append(last_place(centre[:, :cut], glimpsed[:, :cut]))
        places[CONSTANT_VELOCITY].append(extrapolate(centre[:, :cut], glimpsed[:, :cut], horizon)[0])
        for name, recording in recordings.items():
            read = probes[name]
            if recording.ahead:
                places[f"{name}: forecast"].append(read(recording.forecast(cut, horizon, 1), film))
            places[f"{name}: copy"].append(read(recording.copy(cut, 1), film))
            step = np.full(len(film), cut - 1 + horizon)
            places[f"{name}: what came"].append(read(recording.at(here, step, 1), film))
    beyond = ((0, 0), (0, most - len(places[COPY])), (0, 0))
    return {name: np.pad(np.stack(some, axis=1), beyond, constant_values=np.nan) for name, some in places.items()}


def _mean_place(there: Values) -> Values:
    """[R, most, 2] -> [most, 2]; where no film lasts so long, the mean over all times; NaN where there is no film."""
    known = np.asarray(np.isfinite(there).all(2))
    total, count = np.where(known[..., None], there, 0).sum(0), known.sum(0)[:, None]
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), total.sum(0) / count.sum())


def _occluders(films: Films, passage: Passage, most: int) -> Values:
    """The mean place of all pixels that occluders cover at each step hidden: [most, 2] px."""
    clip, found = films.clips[passage.film], np.full((most, 2), np.nan)
    assert clip.truth is not None
    segmentation = read_segmentation(clip.truth)
    for step in range(passage.steps):
        y, x = np.nonzero(segmentation[films.cohort.shown[passage.film][passage.cut + step]] == OCCLUDER_ID)
        found[step] = (x.mean() + 0.5, y.mean() + 0.5) if len(x) else np.nan
    return found


def _curve(error: Values, times: Sequence[str]) -> dict[str, dict[str, float]]:
    """By seconds hidden: mean error in widths over passages that last so long, with its interval over films."""
    found = {}
    for step, time in enumerate(times):
        values = error[np.isfinite(error[:, step]), step]
        if len(values) >= 2:
            sums = np.stack([np.ones(len(values)), values], axis=1)
            value, low, high = bootstrap_of_sums(sums, lambda total: total[..., 1] / total[..., 0])
            found[time] = {"value": value, "low": low, "high": high, "n": len(values)}
    return found
