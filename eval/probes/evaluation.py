"""Is it encoded, is it predicted? One property at a time, off every source, read by probes that never saw the film.

Encoded: a probe is fitted on target latents of some films and reads those of others. Predicted: at a horizon after a
context, `read` by that same probe, and `fitted`, by one fitted on forecasts of the same horizon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.probes import attentive
from eval.probes.ground_truth import FilmTruth
from eval.probes.linear import Fit, Folded, fit_ridge, fit_softmax
from eval.probes.metrics import Score, Statistic, balanced_accuracy, r2, r2_statistic, recall_statistic
from eval.probes.recordings import MOMENTS, Recording
from eval.probes.targets import Property

Kind = Literal["linear", "attentive"]
Values = NDArray[np.floating]
Places = NDArray[np.int64]

SEEN_STEPS = 3  # of a context in which a body must have been in sight, so that its way can be known
CONSTANT_VELOCITY = "constant velocity"
FOLLOWS_WAY = ("position", "velocity", "acceleration")


@dataclass(frozen=True)
class Cohort:
    """Films that are probed together: S latent steps of each, and what is true at the last frame of each step."""

    truths: Sequence[FilmTruth]
    shown: Sequence[Places]  # of each film: the file's frame at the end of each step [S]
    step_s: float
    folds: int

    @property
    def steps(self) -> int:
        return len(self.shown[0])

    def values(self, prop: Property) -> Values:
        """[F, S, C], NaN where a film does not have it."""
        read = [prop.read(truth)[shown] for truth, shown in zip(self.truths, self.shown, strict=True)]
        width = max(values.shape[1] for values in read)
        return np.stack([np.broadcast_to(values, (self.steps, width)) for values in read])

    def body_track(self) -> tuple[Values, NDArray[np.bool_]]:
        """Where the body's centre is [F, S, 2] (NaN: no body), and whether it is in sight [F, S]."""
        centre, sight = np.full((len(self.truths), self.steps, 2), np.nan), np.zeros((len(self.truths), self.steps), bool)
        for film, (truth, shown) in enumerate(zip(self.truths, self.shown, strict=True)):
            if truth.body is not None:
                centre[film], sight[film] = truth.centre_px[shown, truth.body], truth.in_sight[shown, truth.body]
        return centre, sight


@dataclass(frozen=True)
class Question:
    """A property of a cohort, and how it is fitted and judged."""

    cohort: Cohort
    prop: Property
    values: Values  # [F, S, C]
    fit: Fit
    moments: int

    @classmethod
    def of(cls, cohort: Cohort, prop: Property, kind: Kind, device: torch.device) -> Question:
        """A linear probe reads as many moments as the property needs, an attentive one always MOMENTS."""
        moments = prop.moments if kind == "linear" else MOMENTS
        return cls(cohort, prop, cohort.values(prop), fits_of(kind, device)[bool(prop.classes)], moments)

    def encoded_rows(self) -> tuple[Places, Places]:
        """Film and step of all moments at which the property is defined."""
        film, step = np.nonzero(np.isfinite(self.values).all(2))
        kept = step >= self.moments - 1
        return film[kept], step[kept]

    def rows_ahead(self, cuts: Sequence[int], horizon: int) -> list[tuple[int, Places]]:
        """By cut: films where the property is defined that far ahead, and whose body has been in sight for long enough."""
        seen = self.cohort.body_track()[1]
        found = []
        for cut in cuts:
            step = cut - 1 + horizon
            if step < self.cohort.steps and cut >= self.moments:
                there = np.isfinite(self.values[:, step]).all(1)
                if self.prop.of_body:
                    there &= seen[:, :cut].sum(1) >= SEEN_STEPS
                found.append((cut, np.flatnonzero(there)))
        return found

    def targets(self, film: Places, step: Places) -> Values:
        values = self.values[film, step]
        return values[:, 0] if self.prop.classes else values

    def probe(self, recording: Recording) -> Folded:
        """Fitted on target latents. Raises EvalError where films are too few."""
        film, step = self.encoded_rows()
        return Folded.fit(self.fit, recording.at(film, step, self.moments), self.targets(film, step), film, self.cohort.folds)

    def statistic(self, truth: Values, reading: Values, scene: Places) -> Statistic:
        """The value of `score`, to be compared with others of the same rows."""
        return (recall_statistic if self.prop.classes else r2_statistic)(truth, reading, scene)

    def score(self, truth: Values, reading: Values, scene: Places) -> Score:
        if self.prop.classes:
            return balanced_accuracy(truth, reading, scene)
        return r2(truth, reading, scene, self.prop.unit)


def fits_of(kind: Kind, device: torch.device) -> tuple[Fit, Fit]:
    """How numbers are fitted, and classes."""
    if kind == "linear":
        return fit_ridge, fit_softmax
    return partial(attentive.fit_numbers, device=device), partial(attentive.fit_classes, device=device)


def encoded(question: Question, recordings: Mapping[str, Recording]) -> tuple[dict[str, Score], dict[str, Folded]]:
    """Scores and probes by source."""
    film, step = question.encoded_rows()
    truth = question.targets(film, step)
    if question.prop.classes and len(np.unique(truth)) < 2:
        raise EvalError("all films have the same")
    probes = {name: question.probe(recording) for name, recording in recordings.items()}
    scores = {
        name: question.score(truth, probes[name](recording.at(film, step, question.moments), film), film)
        for name, recording in recordings.items()
    }
    return scores, probes


def predicted(
    question: Question,
    recordings: Mapping[str, Recording],
    probes: Mapping[str, Folded],
    cuts: Sequence[int],
    horizon: int,
    fitted: bool,
) -> dict[str, dict[str, Score]]:
    """Scores by source, then `read` and `fitted`, of one horizon; empty where too few films have it.

    Sources: what came (the probe's own limit at these moments), the forecast, the context's last latents again, the same of
    each other recording, and, of what moves, constant velocity from the truth up to the context's end.
    """
    rows = [  # where context and forecast share a window, some contexts are shorter than what the probe reads
        (cut, films)
        for cut, films in question.rows_ahead(cuts, horizon)
        if all(recording.seen[cut].shape[1] >= question.moments for recording in recordings.values())
    ]
    film = np.concatenate([np.zeros(0, np.int64), *(films for _, films in rows)])
    step = np.concatenate([np.zeros(0, np.int64), *(np.full(len(films), cut - 1 + horizon) for cut, films in rows)])
    if len(np.unique(film)) < 2 * question.cohort.folds:
        return {}
    truth, moments = question.targets(film, step), question.moments
    if question.prop.classes and len(np.unique(truth)) < 2:
        return {}
    found: dict[str, dict[str, Score]] = {}
    for name, recording in recordings.items():
        sources = {f"{name}: copy": np.concatenate([recording.copy(cut, moments)[films] for cut, films in rows])}
        if recording.ahead:
            told = [recording.forecast(cut, horizon, moments)[films] for cut, films in rows]
            sources = {f"{name}: forecast": np.concatenate(told), **sources}
        for source, features in sources.items():
            found[source] = {"read": question.score(truth, probes[name](features, film), film)}
            if fitted:
                own = Folded.fit(question.fit, features, truth, film, question.cohort.folds)
                found[source]["fitted"] = question.score(truth, own(features, film), film)
        what_came = probes[name](recording.at(film, step, moments), film)
        found[f"{name}: what came"] = {"read": question.score(truth, what_came, film)}
    if question.prop.name in FOLLOWS_WAY:
        way = straight_on(question.cohort, rows, horizon)[question.prop.name]
        found[CONSTANT_VELOCITY] = {"truth": question.score(truth, way, film)}
    return found


def straight_on(cohort: Cohort, rows: Sequence[tuple[int, Places]], horizon: int) -> dict[str, Values]:
    """Constant velocity, from the true places at the last two steps before the context's end at which the body was in sight.

    By property: [R, 2] in px, px/s and px/s².
    """
    centre, sight = cohort.body_track()
    place: list[Values] = [np.zeros((0, 2))]
    pace: list[Values] = [np.zeros((0, 2))]
    for cut, films in rows:
        there, speed = extrapolate(centre[films, :cut], sight[films, :cut], horizon)
        place.append(there)
        pace.append(speed / cohort.step_s)
    velocity = np.concatenate(pace)
    return {"position": np.concatenate(place), "velocity": velocity, "acceleration": np.zeros_like(velocity)}


def extrapolate(centre: Values, sight: NDArray[np.bool_], horizon: int) -> tuple[Values, Values]:
    """On in a straight line from the last two steps in sight: centre [R, C, 2], sight [R, C] -> place, change a step [R, 2]."""
    row, steps = np.arange(len(centre)), np.arange(centre.shape[1])
    last = last_in_sight(sight)
    before = np.where(sight & (steps < last[:, None]), steps, -1).max(1)
    pace = (centre[row, last] - centre[row, before]) / (last - before)[:, None]
    return centre[row, last] + pace * (centre.shape[1] - 1 + horizon - last)[:, None], pace


def last_place(centre: Values, sight: NDArray[np.bool_]) -> Values:
    """The place at the last step in sight: centre [R, C, 2], sight [R, C] -> [R, 2]."""
    return centre[np.arange(len(centre)), last_in_sight(sight)]


def last_in_sight(sight: NDArray[np.bool_]) -> Places:
    """[R, C] -> [R], each of which must have one."""
    return np.where(sight, np.arange(sight.shape[1]), -1).max(1)


def as_json(score: Score) -> dict[str, Any]:
    """Without what it has not; NaN, which JSON lacks, as null."""
    told = {name: value for name, value in vars(score).items() if value is not None and value != ""}
    return {name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in told.items()}
