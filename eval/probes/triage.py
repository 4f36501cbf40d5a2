"""Why does a quadruplet fail: was what decides not encoded, not predicted, or predicted and not scored?

Everything is asked of one reading, the object map: a grid of cells, in each the share that objects in sight cover, and this
share times their red, green and blue (eval.probes.object_maps). A ridge probe reads it off single latents; it is fitted on
lawful films alone, never on the suite. What a reading says of two truths that differ is on which side of the middle
between them it lies; several moments are one long vector, so that each counts by how much the truths differ there.

    contexts encoded    do latents before the hiding tell context a from context b?
    outcomes encoded    do latents from the reveal on tell outcome u from outcome v?
    remembered          do forecasts of the same moments, from contexts a and b that end in full occlusion, differ in the
                        direction in which u and v do? (the windows of `eval physics`, locked)
    predicted           does each of them lie nearer to the outcome that is possible?
    scored              how many of the quadruplet's four pairs surprise gets right

Each is a share of right answers, chance 1/2; an untrained network, being one fixed map, may remember a property always
rightly or always wrongly, and is at 1/2 over seeds. A quadruplet fails where not all its pairs are right; the blame is the
first stage with a wrong answer, else the score's. Only spliced quadruplets of the built-in suite with full occlusion can be
asked, on split test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.commands.compare import Evaluation, open_evaluation
from eval.errors import EvalError
from eval.intervals import bootstrap_mean
from eval.probes.contrast import CONTEXTS, OUTCOMES, PREDICTED, REMEMBERED, Answers, ask
from eval.probes.gathering import FILMS_AT_ONCE, MODEL
from eval.probes.object_maps import fit_maps
from eval.subject import Subject
from eval.voe.trials import Trial
from worldmodel.manifest import Clip, Manifest
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
SCORED = "scored"
BLAME = ("contexts not encoded", "outcomes not encoded", "not remembered", "not predicted", "predicted, not scored")


@dataclass(frozen=True)
class Quadruplets:
    """Those of an evaluation that can be asked about, and the films of its suite by id."""

    evaluation: Evaluation
    places: Sequence[int]  # in its trials
    clips: Mapping[str, Clip]


def open_quadruplets(out: Path, subject: Subject, model: WorldModel) -> Quadruplets:
    """Raises EvalError where OUT is no finished evaluation, or one of another model, suite or frame rate."""
    evaluation = open_evaluation(out)
    if evaluation.protocol["model"]["hash"] != subject.hash:
        theirs = evaluation.protocol["model"]["spec"]
        raise EvalError(f"{out} is of other weights ({theirs}) than --model {subject.spec}; evaluate this model first")
    if abs(evaluation.protocol["windows"]["fps"] - model.fps) > 1e-6:
        raise EvalError(f"{out} looked at films at another rate than the model's {model.fps:g} fps; evaluate without --fps")
    clips = _suite_clips(evaluation)
    places = [
        index
        for index, trial in enumerate(evaluation.trials)
        if trial.spliced and trial.locked is not None and trial.split == "test" and trial.reveal is not None
    ]
    if not places:
        raise EvalError(f"{out} has no spliced test quadruplet with full occlusion to ask about")
    return Quadruplets(evaluation, places, clips)


def triage(
    quadruplets: Quadruplets, nets: Mapping[str, WorldModel], data: str, split: str, limit: int | None, device: torch.device
) -> dict[str, Any]:
    """All numbers; see `table`."""
    evaluation, asked = quadruplets.evaluation, quadruplets.places
    scorer = evaluation.scorers[0]
    scored = evaluation.board.scores("locked", scorer, "both")
    probes = fit_maps(nets, data, split, limit, device)
    answers: dict[str, Answers] = {}
    with bar("quadruplets", len(asked)) as progress:
        for first in range(0, len(asked), FILMS_AT_ONCE // 2):
            some = [evaluation.trials[index] for index in asked[first : first + FILMS_AT_ONCE // 2]]
            for trial, answer in zip(some, ask(some, quadruplets.clips, nets, probes, device), strict=True):
                answers[trial.group_id] = answer
            progress.step(len(some))
    return table([evaluation.trials[index] for index in asked], scored[asked], answers) | {"scorer": scorer}


def _suite_clips(evaluation: Evaluation) -> dict[str, Clip]:
    """Clips of the built-in suite that was evaluated, by film id."""
    suite = evaluation.protocol["suite"]
    if suite["name"] != "builtin":
        raise EvalError(f"{evaluation.out} is of {suite['name']}: only films of the built-in suite have a truth to ask about")
    manifest = Manifest.open(Path(suite["path"]) / "suite.parquet")
    clips = (manifest.clip(row) for row in range(len(manifest)))
    return {clip.clip_id: clip for clip in clips}


def table(trials: Sequence[Trial], scored: Values, answers: Mapping[str, Answers]) -> dict[str, Any]:
    """By property: `stages` (share right of all quadruplets, of the model and its baselines), and of those that failed
    how many are to blame on what; with the quadruplets themselves, by id."""
    by_property: dict[str, list[int]] = defaultdict(list)
    for index, trial in enumerate(trials):
        by_property[trial.property].append(index)
        by_property["all"].append(index)
    shares = [{SCORED: float(score), **answers[trial.group_id]} for trial, score in zip(trials, scored, strict=True)]
    blamed = [blame(it) for it in shares]
    found = {}
    for name, places in sorted(by_property.items()):
        failed = [blamed[index] for index in places if blamed[index] is not None]
        found[name] = {
            "n": len(places),
            "stages": {stage: _share([shares[index][stage] for index in places]) for stage in shares[0]},
            "failed": len(failed),
            "blame": {why: failed.count(why) for why in BLAME},
        }
    told = [{name: value if np.isfinite(value) else None for name, value in it.items()} for it in shares]
    quadruplets = {
        trial.group_id: {"property": trial.property, "blame": why, **it}
        for trial, why, it in zip(trials, blamed, told, strict=True)
    }
    return {"properties": found, "quadruplets": quadruplets}


def blame(share: Mapping[str, float]) -> str | None:
    """The first stage that went wrong; None where every pair was right or nobody judged it."""
    if not share[SCORED] < 1:
        return None
    forecast = f"{MODEL}: forecast"
    stages = (f"{CONTEXTS}, {MODEL}", f"{OUTCOMES}, {MODEL}", f"{REMEMBERED}, {forecast}", f"{PREDICTED}, {forecast}")
    return next((why for stage, why in zip(stages, BLAME, strict=False) if share[stage] < 1), BLAME[-1])


def _share(values: Sequence[float]) -> dict[str, float | None]:
    there = np.array([value for value in values if np.isfinite(value)])
    if not len(there):
        return {"value": None, "low": None, "high": None, "n": 0, "chance": 0.5}
    value, low, high = bootstrap_mean([there])
    return {"value": value, "low": low, "high": high, "n": len(there), "chance": 0.5}
