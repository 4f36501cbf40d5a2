"""Why does a quadruplet fail: was what decides not encoded, not predicted, or predicted and not scored?

Everything is asked of one reading, the object map: a grid of cells, in each the share that objects in sight cover, and this
share times their red, green and blue (eval.object_maps). A ridge probe reads it off single latents; it is fitted on
lawful films alone, never on the suite. What a reading says of two truths that differ is on which side of the middle
between them it lies; several moments are one long vector, so that each counts by how much the truths differ there.

    contexts encoded    do latents before the hiding tell context a from context b?
    outcomes encoded    do latents from the reveal on tell outcome u from outcome v?
    predicted           do forecasts of the same moments, from contexts that end in full occlusion, lie nearer to the
                        outcome that is possible? (the windows of `eval physics`, locked)
    scored              how many of the quadruplet's four pairs surprise gets right

Each is a share of two (four) questions right, chance 1/2. A quadruplet fails where not all its pairs are right; the blame
is the first of the three stages with a wrong answer, else the score's. Only spliced quadruplets of the built-in suite with
full occlusion can be asked, on split test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.clips import frames_in, read_clips
from eval.compare import Evaluation, open_evaluation
from eval.errors import EvalError
from eval.gathering import FILMS_AT_ONCE, MODEL, PIXELS
from eval.intervals import bootstrap_mean
from eval.object_maps import fit_maps, maps_of, side
from eval.pairs import compare
from eval.probes import LinearProbe
from eval.recordings import Recording, record, record_pixels
from eval.subject import Subject
from eval.trials import Trial
from eval.windows import WindowPlan
from worldmodel.manifest import Clip, Manifest
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.float64]
CONTEXTS, OUTCOMES, PREDICTED, SCORED = "contexts encoded", "outcomes encoded", "predicted", "scored"
BLAME = ("contexts not encoded", "outcomes not encoded", "not predicted", "predicted, not scored")


def triage(
    out: Path,
    subject: Subject,
    nets: Mapping[str, WorldModel],
    data: str,
    split: str,
    limit: int | None,
    device: torch.device,
) -> dict[str, Any]:
    """All numbers; see `table`. Raises EvalError for an evaluation of another model or another suite."""
    evaluation = open_evaluation(out)
    if evaluation.protocol["model"]["hash"] != subject.hash:
        theirs = evaluation.protocol["model"]["spec"]
        raise EvalError(f"{out} is of other weights ({theirs}) than --model {subject.spec}; evaluate this model first")
    model = nets[MODEL]
    if abs(evaluation.protocol["windows"]["fps"] - model.fps) > 1e-6:
        raise EvalError(f"{out} looked at films at another rate than the model's {model.fps:g} fps; evaluate without --fps")
    clips = _suite_clips(evaluation)
    asked = [
        index
        for index, trial in enumerate(evaluation.trials)
        if trial.spliced and trial.locked is not None and trial.split == "test" and trial.reveal is not None
    ]
    if not asked:
        raise EvalError(f"{out} has no spliced test quadruplet with full occlusion to ask about")
    scorer = evaluation.scorers[0]
    scored = evaluation.board.scores("locked", scorer, "both")
    probes = fit_maps(nets, data, split, limit, device)
    answers: dict[str, dict[str, list[float]]] = {}
    with bar("quadruplets", len(asked)) as progress:
        for first in range(0, len(asked), FILMS_AT_ONCE // 2):
            some = [evaluation.trials[index] for index in asked[first : first + FILMS_AT_ONCE // 2]]
            for trial, answer in zip(some, ask(some, clips, nets, probes, device), strict=True):
                answers[trial.group_id] = answer
            progress.step(len(some))
    return table([evaluation.trials[index] for index in asked], scored[asked], answers) | {"scorer": scorer, "of": str(out)}


def _suite_clips(evaluation: Evaluation) -> dict[str, Clip]:
    """Clips of the built-in suite that was evaluated, by film id."""
    suite = evaluation.protocol["suite"]
    if suite["name"] != "builtin":
        raise EvalError(f"{evaluation.out} is of {suite['name']}: only films of the built-in suite have a truth to ask about")
    manifest = Manifest.open(Path(suite["path"]) / "suite.parquet")
    clips = (manifest.clip(row) for row in range(len(manifest)))
    return {clip.clip_id: clip for clip in clips}


def ask(
    trials: Sequence[Trial],
    clips: Mapping[str, Clip],
    nets: Mapping[str, WorldModel],
    probes: Mapping[str, LinearProbe],
    device: torch.device,
) -> list[dict[str, list[float]]]:
    """Of each trial: by "stage, source", for each of its two possible films, (a, u) and (b, v), 1 right, 0 wrong, 1/2 a tie."""
    model = nets[MODEL]
    f = model.frames_per_latent
    films = [clips[film.film_id] for trial in trials for film in trial.films if film.label]
    count = min(frames_in(clip, model.fps) for clip in films)
    steps = count // f
    frames = torch.from_numpy(read_clips(films, model.fps, model.size_px, steps * f, [0] * len(films))).to(device)
    maps = np.stack([maps_of(clip, steps, model) for clip in films])
    cuts = [locked_cuts(trial, steps, model) for trial in trials]
    reach = {cut: min(steps - cut, model.max_steps) for some in cuts for cut in some}
    recordings: dict[str, Recording] = {name: record(net, frames, reach) for name, net in nets.items()}
    recordings[PIXELS] = record_pixels(frames, f, list(reach))
    found: list[dict[str, list[float]]] = []
    for place, (trial, some) in enumerate(zip(trials, cuts, strict=True)):
        assert trial.occlusion is not None
        assert trial.reveal is not None
        film = np.array([2 * place, 2 * place + 1])
        hidden, reveal = (step_of(frame, trial.films[0].fps, model) for frame in (trial.occlusion[0], trial.reveal))
        answer = {}
        for name, recording in recordings.items():
            read = partial(_read, probes[name])
            here = read(recording.target[film])
            answer[f"{CONTEXTS}, {name}"] = _sides(here[:, :hidden], maps[film, :hidden])
            answer[f"{OUTCOMES}, {name}"] = _sides(here[:, reveal:], maps[film, reveal:])
            later = {cut: np.arange(max(cut, reveal), cut + reach[cut]) for cut in some}
            true = np.concatenate([maps[film][:, there] for there in later.values()], 1)
            copies = [np.repeat(read(recording.copy(cut, 1)[film]), len(there), 1) for cut, there in later.items()]
            answer[f"{PREDICTED}, {name}: copy"] = _sides(np.concatenate(copies, 1), true)
            if recording.ahead:
                told = [read(recording.ahead[cut][film][:, there - cut]) for cut, there in later.items()]
                answer[f"{PREDICTED}, {name}: forecast"] = _sides(np.concatenate(told, 1), true)
        found.append(answer)
    return found


def _read(probe: LinearProbe, latents: NDArray[np.floating]) -> NDArray[np.floating]:
    """Each latent by itself: [F, T, N, D] -> object maps [F, T, M]."""
    return probe(latents.reshape(-1, *latents.shape[2:])).reshape(*latents.shape[:2], -1)


def locked_cuts(trial: Trial, steps: int, model: WorldModel) -> list[int]:
    """Latent steps seen by the trial's locked windows, those of `eval physics`."""
    f = model.frames_per_latent
    plan = WindowPlan(model.fps, model.max_context, 1, (f,), model.max_steps, f, model.max_context)
    windows = plan.locked(trial.locked, trial.films[0].fps, steps * f)
    return [window.cut // f for window in windows if window.cut % f == 0]


def step_of(frame: int, fps: float, model: WorldModel) -> int:
    """The first latent step whose last frame is shown at or after a frame of the film."""
    return max(0, int(np.ceil((frame / fps * model.fps - model.frames_per_latent + 1) / model.frames_per_latent - 1e-6)))


def _sides(reading: NDArray[np.floating], truth: Values) -> list[float]:
    """[2, T, M] twice: for each of two films, is the reading on the side of its own truth?"""
    sides = np.array([side(reading[i], truth[i], truth[1 - i]) for i in (0, 1)])
    return compare(np.zeros(2), sides).tolist()


def table(trials: Sequence[Trial], scored: Values, answers: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """By property: `stages` (share right of all quadruplets, of the model and its baselines), and of those that failed
    how many are to blame on what; with the quadruplets themselves, by id."""
    by_property: dict[str, list[int]] = defaultdict(list)
    for index, trial in enumerate(trials):
        by_property[trial.property].append(index)
        by_property["all"].append(index)
    shares = [
        {SCORED: float(score), **{stage: float(np.mean(values)) for stage, values in answers[trial.group_id].items()}}
        for trial, score in zip(trials, scored, strict=True)
    ]
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
    stages = (f"{CONTEXTS}, {MODEL}", f"{OUTCOMES}, {MODEL}", f"{PREDICTED}, {MODEL}: forecast")
    return next((why for stage, why in zip(stages, BLAME, strict=False) if share[stage] < 1), BLAME[-1])


def _share(values: Sequence[float]) -> dict[str, float | None]:
    there = np.array([value for value in values if np.isfinite(value)])
    if not len(there):
        return {"value": None, "low": None, "high": None, "n": 0, "chance": 0.5}
    value, low, high = bootstrap_mean([there])
    return {"value": value, "low": low, "high": high, "n": len(there), "chance": 0.5}
