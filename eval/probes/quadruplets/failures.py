"""Failure analysis of quadruplets: was the deciding fact not encoded, not predicted, or predicted
and not scored?

All stages use one kind of prediction, the object map: a grid of cells with the fraction of each
that visible objects cover, and that fraction times their red, green and blue
(eval.probes.quadruplets.object_maps). A ridge probe predicts it from single latent steps. The probe
is fitted on possible videos, never on the suite. A prediction is right where it is nearer to its
own ground truth than to that of the other video. Several steps form one long vector, so each step
has a weight that grows with the difference of the two ground truths.

    contexts encoded    do latents before the occlusion distinguish context a from context b?
    outcomes encoded    do latents after the reveal distinguish outcome u from outcome v?
    remembered          do forecasts of the same steps, from contexts a and b that end in full occlusion, differ in the
                        same direction as u and v? (the locked windows of `eval voe`)
    predicted           is each of these forecasts nearer to the outcome that is possible?
    scored              the fraction of the quadruplet's four pairs that surprise gets right

Each is a fraction of right answers with chance level 1/2. An untrained network is one fixed map, so
its stage "remembered" may be right for all or for no quadruplet of a property; over seeds it is at
1/2. A quadruplet fails if not all its pairs are right. The first stage with a wrong answer is
reported; if there is none, the failure is "predicted, not scored". Only spliced test quadruplets of
the built-in suite with full occlusion can be analysed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.errors import EvalError
from eval.intervals import bootstrap_mean
from eval.probes.dataset import BATCH_CLIPS, MODEL
from eval.probes.evaluation import forecast_of
from eval.probes.quadruplets.contrast import CONTEXTS, OUTCOMES, PREDICTED, REMEMBERED, StageScores, evaluate_trials
from eval.probes.quadruplets.object_maps import fit_map_probes
from eval.probes.results import FailureResults, PropertyFailures, ScoreJson
from eval.subject import Subject
from eval.voe.evaluation import Evaluation, open_evaluation
from eval.voe.trials import Trial
from worldmodel.manifest import Clip, Manifest
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
SCORED = "scored"
FAILED_STAGES = ("contexts not encoded", "outcomes not encoded", "not remembered", "not predicted", "predicted, not scored")


@dataclass(frozen=True)
class Quadruplets:
    """The quadruplets of an evaluation that can be analysed, and the clips of its suite by id."""

    evaluation: Evaluation
    indices: Sequence[int]  # in its trials
    clips: Mapping[str, Clip]


def open_quadruplets(out: Path, subject: Subject, model: WorldModel) -> Quadruplets:
    """Open the quadruplets of an evaluation that can be analysed.

    Raises EvalError if OUT is no finished evaluation, or one of another model, suite or frame rate.
    """
    evaluation = open_evaluation(out)
    if evaluation.protocol["model"]["hash"] != subject.hash:
        other = evaluation.protocol["model"]["spec"]
        raise EvalError(f"{out} is of other weights ({other}) than --model {subject.spec}; evaluate this model first")
    if abs(evaluation.protocol["windows"]["fps"] - model.fps) > 1e-6:
        raise EvalError(f"{out} was evaluated at another frame rate than the model's {model.fps:g} fps; evaluate without --fps")
    clips = _suite_clips(evaluation)
    indices = [
        index
        for index, trial in enumerate(evaluation.trials)
        if trial.spliced and trial.locked_cuts is not None and trial.split == "test" and trial.reveal_frame is not None
    ]
    if not indices:
        raise EvalError(f"{out} has no spliced test quadruplet with full occlusion to analyse")
    return Quadruplets(evaluation, indices, clips)


def analyse_failures(
    quadruplets: Quadruplets, nets: Mapping[str, WorldModel], data: str, split: str, limit: int | None, device: torch.device
) -> FailureResults:
    """Fit the probes on possible videos and evaluate all quadruplets."""
    evaluation, indices = quadruplets.evaluation, quadruplets.indices
    scorer = evaluation.scorers[0]
    scored = evaluation.board.scores("locked", scorer, "both")
    probes = fit_map_probes(nets, data, split, limit, device)
    scores: dict[str, StageScores] = {}
    with bar("quadruplets", len(indices)) as progress:
        for first in range(0, len(indices), BATCH_CLIPS // 2):
            batch = [evaluation.trials[index] for index in indices[first : first + BATCH_CLIPS // 2]]
            found = evaluate_trials(batch, quadruplets.clips, nets, probes, device)
            scores |= {trial.group_id: it for trial, it in zip(batch, found, strict=True)}
            progress.step(len(batch))
    results = failure_table([evaluation.trials[index] for index in indices], scored[indices], scores)
    results["scorer"] = str(scorer)
    return results


def _suite_clips(evaluation: Evaluation) -> dict[str, Clip]:
    """Clips of the built-in suite that was evaluated, by id."""
    suite = evaluation.protocol["suite"]
    if suite["name"] != "builtin":
        raise EvalError(f"{evaluation.out} is of {suite['name']}: only videos of the built-in suite have a ground truth")
    manifest = Manifest.open(Path(suite["path"]) / "suite.parquet")
    clips = (manifest.clip(row) for row in range(len(manifest)))
    return {clip.clip_id: clip for clip in clips}


def failure_table(trials: Sequence[Trial], scored: Values, scores: Mapping[str, StageScores]) -> FailureResults:
    """By property: fraction right at each stage, and how many failed quadruplets fail first at
    each; and each quadruplet.

    scored: fraction of right pairs of each trial. scores: of the stages, by trial.
    """
    by_property: dict[str, list[int]] = defaultdict(list)
    for index, trial in enumerate(trials):
        by_property[trial.property].append(index)
        by_property["all"].append(index)
    fractions = [{SCORED: float(score), **scores[trial.group_id]} for trial, score in zip(trials, scored, strict=True)]
    failed_stages = [first_failed_stage(it) for it in fractions]
    properties: dict[str, PropertyFailures] = {}
    for name, indices in sorted(by_property.items()):
        failed = [stage for index in indices if (stage := failed_stages[index]) is not None]
        properties[name] = {
            "n": len(indices),
            "stages": {stage: _mean_fraction([fractions[index][stage] for index in indices]) for stage in fractions[0]},
            "failed": len(failed),
            "first_failed_stage": {stage: failed.count(stage) for stage in FAILED_STAGES},
        }
    finite = [{name: value if np.isfinite(value) else None for name, value in it.items()} for it in fractions]
    quadruplets = {
        trial.group_id: {"property": trial.property, "first_failed_stage": stage, **it}
        for trial, stage, it in zip(trials, failed_stages, finite, strict=True)
    }
    return {"properties": properties, "quadruplets": quadruplets}


def first_failed_stage(fractions: Mapping[str, float]) -> str | None:
    """The first stage that is not right; None where every pair was right or no pair was scored."""
    if not fractions[SCORED] < 1:
        return None
    forecast = forecast_of(MODEL)
    stages = (f"{CONTEXTS}, {MODEL}", f"{OUTCOMES}, {MODEL}", f"{REMEMBERED}, {forecast}", f"{PREDICTED}, {forecast}")
    wrong = (failed for stage, failed in zip(stages, FAILED_STAGES, strict=False) if fractions[stage] < 1)
    return next(wrong, FAILED_STAGES[-1])


def _mean_fraction(values: Sequence[float]) -> ScoreJson:
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return {"value": None, "low": None, "high": None, "n": 0, "chance": 0.5}
    value, low, high = bootstrap_mean([finite])
    return {"value": value, "low": low, "high": high, "n": len(finite), "chance": 0.5}
