"""Probe evaluation of one property: is it encoded in latents, and is it predicted by forecasts?

Encoded: a probe is fitted on target latents of some clips and applied to those of others
(cross-fitting). Predicted: at a horizon after a context, a forecast is read by that same probe
("transferred") and by a probe that is fitted on forecasts of the same horizon ("refitted").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.probes.aligned_truth import AlignedTruth
from eval.probes.constant_velocity import CONSTANT_VELOCITY, KINEMATIC, MIN_VISIBLE_STEPS, constant_velocity
from eval.probes.fitting import attentive
from eval.probes.fitting.cross_fitting import CrossFittedProbe, Fit
from eval.probes.fitting.linear import fit_ridge
from eval.probes.fitting.softmax import fit_softmax
from eval.probes.latents import MAX_INPUT_STEPS, ClipLatents
from eval.probes.metrics import Score, Statistic, balanced_accuracy, r2, r2_statistic, recall_statistic
from eval.probes.targets import Property

ProbeKind = Literal["linear", "attentive"]
Values = NDArray[np.floating]
Indices = NDArray[np.int64]

TRANSFERRED, REFITTED, FROM_TRUTH = "transferred", "refitted", "ground truth"
"""Which probe reads a forecast: that of target latents, or one that was fitted on forecasts.

A baseline from the ground truth needs no probe.
"""


def forecast_of(net: str) -> str:
    """Name of a network's forecasts among the sources of predictions."""
    return f"{net}: forecast"


def copy_of(net: str) -> str:
    """Name of the copy-last baseline: the context's last latents for any horizon."""
    return f"{net}: copy last"


def target_of(net: str) -> str:
    """Name of the target latents themselves, the limit of what the transferred probe can read."""
    return f"{net}: target"


@dataclass(frozen=True)
class ProbeTask:
    """A property of several clips, and how it is fitted and scored."""

    truth: AlignedTruth
    prop: Property
    values: Values  # [F, S, C]
    fit: Fit
    input_steps: int

    @classmethod
    def create(cls, truth: AlignedTruth, prop: Property, kind: ProbeKind, device: torch.device) -> ProbeTask:
        """A linear probe reads as many latent steps as the property needs, an attentive one always
        MAX_INPUT_STEPS."""
        input_steps = prop.input_steps if kind == "linear" else MAX_INPUT_STEPS
        return cls(truth, prop, truth.values(prop), fit_of(kind, bool(prop.classes), device), input_steps)

    def target_rows(self) -> tuple[Indices, Indices]:
        """Clip and step of all rows at which the property is defined."""
        clip, step = np.nonzero(np.isfinite(self.values).all(2))
        enough = step >= self.input_steps - 1
        return clip[enough], step[enough]

    def forecast_rows(self, contexts: Sequence[int], horizon: int) -> list[tuple[int, Indices]]:
        """By context length: clips with the property defined `horizon` steps later and the body
        visible long enough before."""
        visible = self.truth.body_track()[1]
        found = []
        for context in contexts:
            step = context - 1 + horizon
            if step < self.truth.steps and context >= self.input_steps:
                chosen = np.isfinite(self.values[:, step]).all(1)
                if self.prop.of_body:
                    chosen &= visible[:, :context].sum(1) >= MIN_VISIBLE_STEPS
                found.append((context, np.flatnonzero(chosen)))
        return found

    def targets(self, clip: Indices, step: Indices) -> Values:
        """Values [R, C], or classes [R]."""
        values = self.values[clip, step]
        return values[:, 0] if self.prop.classes else values

    def fit_probe(self, latents: ClipLatents) -> CrossFittedProbe:
        """Fit on target latents. Raises EvalError where clips are too few."""
        clip, step = self.target_rows()
        features = latents.target_at(clip, step, self.input_steps)
        return CrossFittedProbe.fit(self.fit, features, self.targets(clip, step), clip, self.truth.folds)

    def statistic(self, truth: Values, predicted: Values, group: Indices) -> Statistic:
        """The value of `score` as a Statistic, to be compared with others of the same rows."""
        return (recall_statistic if self.prop.classes else r2_statistic)(truth, predicted, group)

    def score(self, truth: Values, predicted: Values, group: Indices) -> Score:
        if self.prop.classes:
            return balanced_accuracy(truth, predicted, group)
        return r2(truth, predicted, group, self.prop.unit)


def fit_of(kind: ProbeKind, classes: bool, device: torch.device) -> Fit:
    """The function that fits a probe of numbers or of classes."""
    if kind == "linear":
        return fit_softmax if classes else fit_ridge
    return partial(attentive.fit_classes if classes else attentive.fit_numbers, device=device)


def evaluate_encoded(
    task: ProbeTask, latents: Mapping[str, ClipLatents]
) -> tuple[dict[str, Score], dict[str, CrossFittedProbe]]:
    """Scores and probes of target latents, by source.

    Raises EvalError where the property cannot be probed.
    """
    clip, step = task.target_rows()
    truth = task.targets(clip, step)
    if task.prop.classes and len(np.unique(truth)) < 2:
        raise EvalError("all videos have the same class")
    probes = {name: task.fit_probe(it) for name, it in latents.items()}
    scores = {
        name: task.score(truth, probes[name](it.target_at(clip, step, task.input_steps), clip), clip)
        for name, it in latents.items()
    }
    return scores, probes


def evaluate_predicted(
    task: ProbeTask,
    latents: Mapping[str, ClipLatents],
    probes: Mapping[str, CrossFittedProbe],
    contexts: Sequence[int],
    horizon: int,
    refit: bool,
) -> dict[str, dict[str, Score]]:
    """Scores at one horizon by source, then by the probe that reads it; empty where too few clips
    have the property.

    Sources of each network: its forecast, the copy-last baseline, and the target latents. For
    position, velocity and acceleration also the constant-velocity baseline, from the true positions
    within the context.
    """
    rows = [  # if one window holds context and forecast, some contexts are shorter than what the probe reads
        (context, clips)
        for context, clips in task.forecast_rows(contexts, horizon)
        if all(it.context[context].shape[1] >= task.input_steps for it in latents.values())
    ]
    clip = np.concatenate([np.zeros(0, np.int64), *(clips for _, clips in rows)])
    step = np.concatenate([np.zeros(0, np.int64), *(np.full(len(clips), context - 1 + horizon) for context, clips in rows)])
    if len(np.unique(clip)) < 2 * task.truth.folds:
        return {}
    truth, input_steps = task.targets(clip, step), task.input_steps
    if task.prop.classes and len(np.unique(truth)) < 2:
        return {}
    found: dict[str, dict[str, Score]] = {}
    for name, it in latents.items():
        sources = {copy_of(name): np.concatenate([it.context_end(context, input_steps)[clips] for context, clips in rows])}
        if it.forecast:
            forecasts = [it.forecast_at(context, horizon, input_steps)[clips] for context, clips in rows]
            sources = {forecast_of(name): np.concatenate(forecasts), **sources}
        for source, features in sources.items():
            found[source] = {TRANSFERRED: task.score(truth, probes[name](features, clip), clip)}
            if refit:
                refitted = CrossFittedProbe.fit(task.fit, features, truth, clip, task.truth.folds)
                found[source][REFITTED] = task.score(truth, refitted(features, clip), clip)
        of_target = probes[name](it.target_at(clip, step, input_steps), clip)
        found[target_of(name)] = {TRANSFERRED: task.score(truth, of_target, clip)}
    if task.prop.name in KINEMATIC:
        predicted = constant_velocity(task.truth, rows, horizon)[task.prop.name]
        found[CONSTANT_VELOCITY] = {FROM_TRUTH: task.score(truth, predicted, clip)}
    return found
