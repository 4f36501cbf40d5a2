"""`eval plan --checkpoints all`: all checkpoints of runs on the same pairs, and which of their numbers predicts success."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from data_prep.errors import PrepError
from eval.errors import EvalError
from eval.planning.checkpoints.correlations import FEWEST, TRAINING, correlate
from eval.planning.checkpoints.numbers import TRAINING_STEP, health_numbers, losses, offline_numbers
from eval.planning.checkpoints.output import CheckpointResults, CheckpointRow, write_checkpoint_results
from eval.planning.evaluation import Evaluation, run_policies
from eval.planning.models import NamedModel, check_comparable, open_models
from eval.planning.pairs import write_pairs
from eval.planning.scoring import score, success
from eval.planning.set_up import PlanRequest, Prepared, identity, measured_offline, prepare
from eval.provenance import environment as run_environment
from eval.result_folder import result_folder
from eval.resumable_work import compute_pieces
from worldmodel.checkpoint import Checkpoint, all_checkpoints
from worldmodel.files.atomic import write_json
from worldmodel.process.terminal import print_escaped
from worldmodel.ranks.launch import run_on_main_process
from worldmodel.runs.run_data import run_folder_of

WRITTEN = ("pairs.json", "checkpoints.json", "checkpoints.csv", "checkpoints.md", "report.html")


def evaluate_checkpoints(request: PlanRequest, device: torch.device, ranks: PartialState) -> int:
    """Evaluate all checkpoints of `request.model` and write all files. Raises EvalError."""
    for name, given in (("--policies", request.policies is not None), ("--variations", request.variations)):
        if given:
            raise EvalError(f"{name} is for single models; with --checkpoints all, the policy is the model itself")
    if request.proposals != "none":
        raise EvalError("--proposals is for single models; with --checkpoints all, searches have the sampled sequences alone")
    try:
        with contextlib.ExitStack() as held:
            folder = result_folder(request.out, WRITTEN, "checkpoints.json")
            run_on_main_process(ranks, lambda: held.enter_context(folder))
            return _evaluate(request, device, ranks)
    except PrepError as error:
        raise EvalError(str(error)) from None


def _evaluate(request: PlanRequest, device: torch.device, ranks: PartialState) -> int:
    runs = [all_checkpoints(run) for run in request.model]
    checkpoints = [checkpoint for some in runs for checkpoint in some]
    if len(checkpoints) < FEWEST:
        raise EvalError(
            f"{len(checkpoints)} checkpoints; correlations need {FEWEST} or more. Train with a small checkpoint.every and a "
            "checkpoint.keep that keeps all, or give more --model"
        )
    of_each_run = [open_models([str(some[0].folder)], device)[0] for some in runs if some]
    prepared = prepare(request, of_each_run)
    request = prepared.request
    if ranks.is_main_process:
        for note in prepared.notes:
            print_escaped(f"eval plan: {note}")
        write_pairs(request.out / "pairs.json", prepared.pairs)
    rows: list[CheckpointRow] = []
    for number, checkpoint in enumerate(checkpoints):
        if ranks.is_main_process:
            print_escaped(f"checkpoint {number + 1} of {len(checkpoints)}: {checkpoint.folder}")
        rows.append(_row(prepared, checkpoint, of_each_run[0], device, ranks))
    if ranks.is_main_process:
        write_checkpoint_results(request.out, _results(prepared, rows))
        print_escaped(request.out / "report.html")
        shutil.rmtree(request.out / "parts")
    ranks.wait_for_everyone()
    return 0


def _row(
    prepared: Prepared, checkpoint: Checkpoint, first: NamedModel, device: torch.device, ranks: PartialState
) -> CheckpointRow:
    request, spec = prepared.request, str(checkpoint.folder)
    (model,) = open_models([spec], device)
    check_comparable(first.sizes, first.spec, model)
    parts = request.out / "parts" / identity(request, prepared.pairs, prepared.planning, [model], prepared.manifest)
    shared = request.env, request.env_options, prepared.task, prepared.pairs, prepared.space, prepared.planning
    evaluation = Evaluation(*shared, model.model, {}, device)
    seeds = list(range(request.seeds))
    episodes = run_policies(evaluation, ["model"], seeds, parts, ranks)["model"]

    def write_offline(_piece: int, file: Path) -> None:
        found, _ = measured_offline(prepared, model, device)
        write_json(file, offline_numbers(found))

    offline: dict[str, float] = {}
    if not request.no_offline:
        (file,) = compute_pieces("offline", [0], lambda _: parts / "offline.json", lambda it: it, write_offline, ranks)
        offline = json.loads(file.read_text())
    goals = prepared.pairs.goals_array
    last = np.stack([prepared.task.distance(some.states[:, -1], goals) for some in episodes])
    run, step = run_folder_of(checkpoint), checkpoint.step
    return CheckpointRow(
        run=run.name,
        folder=str(run),
        step=step,
        hash=model.hash,
        scores={
            name: score(values, members=prepared.pairs.members, groups=prepared.pairs.episodes)
            for name, values in success(prepared.task, episodes, goals).items()
        },
        final_distance=float(np.median(last)),
        numbers={
            TRAINING: {TRAINING_STEP: float(step)},
            "offline": offline,
            "health": health_numbers(run, step),
            "loss": losses(run, step),
        },
    )


def _results(prepared: Prepared, rows: Sequence[CheckpointRow]) -> CheckpointResults:
    request = prepared.request
    groups = {name: group for row in rows for group, some in row["numbers"].items() for name in some}
    numbers = [{name: value for some in row["numbers"].values() for name, value in some.items()} for row in rows]
    criterion = prepared.task.criteria[0].name
    runs = list(dict.fromkeys(row["folder"] for row in rows))
    columns: dict[str, list[Any]] = {
        "success": [row["scores"][criterion]["value"] for row in rows],
        "nearness": [-row["final_distance"] for row in rows],
        "step": [row["step"] for row in rows],
        "run": [runs.index(row["folder"]) for row in rows],
    }
    arrays = {name: np.array(values, np.float64) for name, values in columns.items()}
    return CheckpointResults(
        made=run_environment(),
        environment={"id": request.env, "options": request.env_options, "unit": prepared.task.unit},
        pairs={
            "count": len(prepared.pairs.pairs),
            "removed_trained_on": prepared.pairs.removed_trained_on,
            "split": prepared.pairs.split,
            "source": prepared.pairs.source,
        },
        protocol={
            "budget": prepared.planning.budget,
            "executed": prepared.planning.executed,
            "planner": prepared.planning.config.model_dump(mode="json"),
            "repeat_actions": prepared.planning.repeat_actions,
            "shrinking_horizon": prepared.planning.shrinking,
            "planning_seeds": request.seeds,
        },
        criterion=criterion,
        runs=len(runs),
        checkpoints=list(rows),
        correlations=correlate(numbers, groups, **arrays),
    )
