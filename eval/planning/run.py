"""One evaluation of planning from its arguments to the files in OUT."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from data_prep.environments.making import find_task, make_environment
from data_prep.environments.tasks import StillTask, Task, to_go_is_exact
from data_prep.errors import PrepError
from eval.errors import EvalError
from eval.planning.episodes import Episodes, picture_of
from eval.planning.evaluation import LABELS, MODEL_POLICIES, Evaluation, Planning, run_policies
from eval.planning.heads.data import read_head_data
from eval.planning.heads.note import PROPOSALS, heads_note
from eval.planning.heads.proposals import recorded_actions
from eval.planning.heads.training import TrainedHead, fit_head
from eval.planning.models import NamedModel, open_models
from eval.planning.offline.permanence import permanence_note
from eval.planning.offline.recorded import Recorded
from eval.planning.output.episode_videos import Gallery
from eval.planning.output.page import PageInput, write_page
from eval.planning.output.tables import write_tables
from eval.planning.pairs import PairSet, write_pairs
from eval.planning.results import HeadsOfModel, PlanResults
from eval.planning.scoring import score, score_policies, success
from eval.planning.set_up import PlanRequest, chosen_policies, identity, measured_offline, prepare
from eval.planning.verdict import verdict
from eval.provenance import environment as run_environment
from eval.result_folder import result_folder
from worldmodel.files.atomic import write_arrays, write_json
from worldmodel.manifest import Manifest
from worldmodel.process.terminal import print_escaped
from worldmodel.ranks.launch import run_on_main_process

WRITTEN = ("pairs.json", "plan.json", "plan.csv", "plan.md", "report.html", "episodes.npz")
VARIATION_PAIRS = 100
Array = NDArray[np.float64]


def evaluate_planning(request: PlanRequest, device: torch.device, ranks: PartialState) -> int:
    """Evaluate and write all files. Raises EvalError."""
    try:
        with contextlib.ExitStack() as held:
            folder = result_folder(request.out, WRITTEN, "plan.json")
            run_on_main_process(ranks, lambda: held.enter_context(folder))
            return _evaluate(request, device, ranks)
    except PrepError as error:
        raise EvalError(str(error)) from None


def _evaluate(request: PlanRequest, device: torch.device, ranks: PartialState) -> int:
    models = open_models(request.model, device)
    prepared = prepare(request, models)
    request = prepared.request
    task, manifest, pairs, planning = prepared.task, prepared.manifest, prepared.pairs, prepared.planning
    if ranks.is_main_process:
        write_pairs(request.out / "pairs.json", pairs)
    if request.proposals == "inverse" and not models:
        raise EvalError(f"--proposals {request.proposals} are plans of a model; give --model")
    heads = [_heads(request, it, manifest, planning.context, device) for it in models]
    shared = request.env, request.env_options, task, pairs, prepared.space, planning
    both = enumerate(zip(models, heads, strict=True))
    recorded = recorded_actions(manifest) if request.proposals == "recorded" else []
    evaluations = [Evaluation(*shared, it.model, head, device, number, recorded) for number, (it, head) in both]
    evaluations = evaluations or [Evaluation(*shared, None, {}, device, recorded=recorded)]
    left_out = evaluations[0].left_out()
    names = chosen_policies(request, evaluations[0].names(), left_out)
    told = [*prepared.notes, *(left_out.values() if request.policies is None else [])]
    if ranks.is_main_process:
        for note in told:
            print_escaped(f"eval plan: {note}")
    parts = request.out / "parts" / identity(request, pairs, planning, models, manifest)
    seeds = list(range(request.seeds))
    runs: dict[str, list[Episodes]] = {}
    for index, evaluation in enumerate(evaluations):
        own = [name for name in names if index == 0 or name in MODEL_POLICIES]
        for name, episodes in run_policies(evaluation, own, seeds, parts / str(index), ranks).items():
            runs.setdefault(name, []).extend(episodes)
    varied = _variations(request, evaluations, parts, ranks) if request.variations and models else []
    offline: dict[str, Any] = {}
    held_out: list[Recorded] = []
    if models and not request.no_offline:
        offline, held_out = measured_offline(prepared, models[0], device)
    if ranks.is_main_process:
        runs = {name: runs[name] for name in names}
        found = _results(request, task, pairs, planning, models, evaluations, runs, varied, offline, seeds)
        found["notes"] += told
        write_json(request.out / "plan.json", found)
        write_tables(request.out, found)
        goals = pairs.goals_array
        arrays = {
            f"{name}/{index}/{key}": getattr(episodes, key)
            for name, some in runs.items()
            for index, episodes in enumerate(some)
            for key in ("states", "actions", "length")
        }
        write_arrays(request.out / "episodes.npz", arrays, compressed=True)
        gallery = Gallery(models[0].decoder, held_out) if models else None
        write_page(request.out / "report.html", found, PageInput(evaluations[0], runs, pairs.starts, goals, gallery))
        print_escaped(f"{found['verdict']['text']}\n{request.out / 'report.html'}")
    ranks.wait_for_everyone()
    if ranks.is_main_process:
        shutil.rmtree(request.out / "parts")
    return 0


def _heads(
    request: PlanRequest, model: NamedModel, manifest: Manifest, context: int, device: torch.device
) -> dict[str, TrainedHead]:
    """Behaviour cloning and inverse dynamics, trained on the frozen encoder of a model, with as many frames of context."""
    wanted = LABELS if request.policies is None else request.policies.split(",")
    told = {name: steps for name, steps in (("cloning", False), ("inverse", True)) if name in wanted}
    proposals = request.proposals == "inverse"
    if not told and not proposals:
        return {}
    data = read_head_data(model.model, manifest, "train", device, size_px=model.size_px)
    found = {name: fit_head(data, steps, context, what=LABELS[name]) for name, steps in told.items()}
    if proposals:  # a rollout of inverse dynamics sees one frame at a time
        found[PROPOSALS] = found["inverse"] if "inverse" in found and context == 1 else fit_head(data, True, what=PROPOSALS)
    return found


def _variations(
    request: PlanRequest, evaluations: Sequence[Evaluation], parts: Path, ranks: PartialState
) -> list[dict[str, Any]]:
    """The model with one factor of the environment changed at a time, on the first pairs; and unchanged, on the same.

    Where start or goal of some pairs does not exist in a changed environment, the unchanged one is scored on the others alone
    too, in a row below.
    """
    rows: list[dict[str, Any]] = []
    first = evaluations[0]
    few = first.pairs.matched()[: VARIATION_PAIRS // first.pairs.members]
    unchanged: dict[str, Array] = {}
    for number, it in enumerate([None, *first.task.variations]):
        options = {**request.env_options, **(it.options if it else {})}
        task = find_task(request.env, options, request.task)
        possible = np.array([all(_can_start(request.env, options, task, pair) for pair in some) for some in few], np.bool_)
        chosen = replace(first.pairs, pairs=tuple(chain.from_iterable(compress(few, possible))))
        if not chosen.pairs:
            continue
        episodes: list[Episodes] = []
        for index, evaluation in enumerate(evaluations):
            changed = replace(evaluation, options=options, task=task, pairs=chosen)
            episodes += run_policies(changed, ["model"], [0], parts / f"{index}-variation-{number}", ranks)["model"]
        scores = success(task, episodes, chosen.goals_array)
        if it is None:
            rows.append(_variation("none", "as trained", scores, chosen))
            few, unchanged = list(compress(few, possible)), scores
            continue
        rows.append(_variation(it.factor, it.label, scores, chosen))
        if unchanged and not possible.all():
            same = np.repeat(possible, first.pairs.members)
            of_same = {name: values[:, same] for name, values in unchanged.items()}
            rows.append(_variation("none", f"as trained, the pairs of {it.factor} {it.label}", of_same, chosen))
    return rows


def _variation(factor: str, label: str, scores: dict[str, Array], pairs: PairSet) -> dict[str, Any]:
    """scores: success of each model and pair, [models, P], by criterion."""
    of_criteria = {name: score(values, len(values), pairs.members, pairs.episodes) for name, values in scores.items()}
    return {"factor": factor, "label": label, "scores": of_criteria}


def _can_start(environment_id: str, options: dict[str, Any], task: Task, pair: Any) -> bool:
    """Whether start and goal exist in a changed environment; a thicker wall may cover them."""
    made = make_environment(environment_id, options)
    try:
        for state in (pair.start, pair.goal):
            picture_of(made, environment_id, task, np.array(state))
        return True
    except EvalError:
        return False
    finally:
        made.close()


def _results(
    request: PlanRequest,
    task: Task,
    pairs: PairSet,
    planning: Planning,
    models: Sequence[NamedModel],
    evaluations: Sequence[Evaluation],
    runs: dict[str, list[Episodes]],
    varied: list[dict[str, Any]],
    offline: dict[str, Any],
    seeds: Sequence[int],
) -> PlanResults:
    starts, goals = pairs.starts, pairs.goals_array
    policies = score_policies(task, starts, goals, runs, LABELS, "model", len(seeds), pairs.members, pairs.episodes)
    notes = [
        f"{result['label']}: {result['ended_early']} episodes ended before the budget; their last state counts"
        for result in policies.values()
        if result["ended_early"]
    ]
    if "nothing" in policies and not isinstance(task, StillTask):
        notes.append(
            f"{LABELS['nothing']}: the action in the middle of the bounds, because the task does not name one that keeps the "
            "state; where actions are absolute targets, it moves"
        )
    trained = [
        HeadsOfModel(model=it.spec, heads={name: head.training for name, head in evaluation.heads.items()})
        for it, evaluation in zip(models, evaluations, strict=False)
        if evaluation.heads
    ]
    if trained:
        notes.append(heads_note(trained))
    recorded = len(np.unique(pairs.episodes))
    if recorded < len(pairs.matched()):
        notes.append(
            f"The pairs are from {recorded} recorded episodes, and those of one episode may overlap; intervals and tests are "
            "over episodes"
        )
    if "permanence" in offline:
        notes.append(permanence_note(offline["permanence"]))
    return PlanResults(
        made={**run_environment(), "models": [it.about for it in models]},
        environment={"id": request.env, "options": request.env_options, "unit": task.unit},
        pairs={
            "count": len(pairs.pairs),
            "episodes": recorded,
            **({"matched_pairs": len(pairs.matched())} if pairs.members > 1 else {}),
            "removed_at_goal": pairs.removed_at_goal,
            "removed_trained_on": pairs.removed_trained_on,
            "source": pairs.source,
            "split": pairs.split,
            "goals": pairs.goals,
            "goal_steps": pairs.goal_steps,
            "seed": pairs.seed,
        },
        protocol={
            "budget": planning.budget,
            "executed": planning.executed,
            "planner": planning.config.model_dump(mode="json"),
            "cost_steps": planning.steps,
            "context_frames": planning.context,
            "repeat_actions": planning.repeat_actions,
            "proposals": planning.proposals,
            "recorded_proposals": planning.recorded_count if planning.proposals == "recorded" else 0,
            "shrinking_horizon": planning.shrinking,
            "planning_seeds": list(seeds),
        },
        criteria=[asdict(criterion) for criterion in task.criteria],
        policies=policies,
        verdict=verdict(policies, task.criteria[0].name, len(models), to_go_is_exact(task)),
        variations=varied,
        offline=offline,
        heads=trained,
        notes=notes,
    )
