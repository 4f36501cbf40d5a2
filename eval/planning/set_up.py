"""What an evaluation of planning is made of: manifest, pairs, bounds of actions, planner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.environments.making import action_size, check_environment, find_task, make_environment
from data_prep.environments.tasks import Task, WatchedTask, lead_in_steps
from eval.cache.keys import digest_of, source_digest
from eval.errors import EvalError
from eval.planning.episodes import picture_of
from eval.planning.evaluation import Planning
from eval.planning.heads.proposals import RECORDED
from eval.planning.held_out import without_trained_on
from eval.planning.models import NamedModel, notes_on_models
from eval.planning.offline.measures import measure
from eval.planning.offline.permanence import measure_permanence
from eval.planning.offline.recorded import Recorded, read_recorded
from eval.planning.pairs import PairSet, choose_pairs, read_pairs, signals_of
from worldmodel.manifest import Manifest
from worldmodel.planning import ActionSpace, CEMConfig, GradientConfig, ICEMConfig, MPPIConfig, PlannerBase
from worldmodel.process.terminal import print_escaped

CONTEXT = 4  # frames that a model sees, unless another number is given or the task needs more
OFFLINE_EPISODES = 100


@dataclass(frozen=True)
class PlanRequest:
    """The arguments of `eval plan`."""

    model: Sequence[str]
    env: str
    env_options: dict[str, Any]
    task: str | None
    out: Path
    data: str | None
    split: str
    pairs: Path | None
    count: int
    goals: Any
    goal_steps: int
    pair_seed: int
    budget: int | None
    executed: int
    planner: str
    horizon: int
    samples: int
    elites: int
    iterations: int
    std: float
    cost_steps: str
    repeat_actions: bool
    context: int | None
    seeds: int
    policies: str | None
    variations: bool
    no_offline: bool
    checkpoints: str = "best"
    proposals: str = "none"
    proposal_count: int | None = None
    shrinking_horizon: bool = False
    options_given: bool = False  # whether the user named env_options; else they are those of the recorded episodes


def open_manifest(request: PlanRequest, models: Sequence[NamedModel]) -> Manifest:
    path = request.data or (models[0].data if models else None)
    if path is None and models:
        raise EvalError(f"{models[0].spec}: its training data was not found ({models[0].missing}); give --data")
    if path is None:
        raise EvalError("--data is missing: without --model it names the episodes that pairs come from")
    return Manifest.open(path)


def recorded_options(request: PlanRequest, manifest: Manifest) -> tuple[PlanRequest, list[str]]:
    """The request with the environment options of the recorded episodes, unless the user named others; and what to tell."""
    origin = signals_of(manifest, 0).origin if len(manifest) else {}
    recorded = origin.get("options")
    same = str(origin.get("environment")).rpartition(":")[2] == request.env.rpartition(":")[2]
    if not same or not isinstance(recorded, dict) or recorded == request.env_options:
        return request, []
    if request.options_given:
        given = json.dumps(request.env_options)
        return request, [f"--env-options {given} differ from those of the recorded episodes, {json.dumps(recorded)}"]
    note = f"the options of the environment are those of the recorded episodes: {json.dumps(recorded)}"
    return replace(request, env_options=recorded), [note]


def training_manifests(request: PlanRequest, models: Sequence[NamedModel], manifest: Manifest) -> list[Manifest]:
    """Those that models, and behaviour cloning and inverse dynamics, were trained on.

    Without the one that pairs are chosen from, whose splits are disjoint, unless they are chosen from train itself.
    """
    paths = dict.fromkeys(path for it in models for path in (it.data, *it.more_data) if path is not None)
    opened = [*(Manifest.open(path) for path in paths), *([manifest] if models else [])]
    by_digest = {it.digest(): it for it in opened}
    if request.pairs is None and request.split != "train":
        by_digest.pop(manifest.digest(), None)
    return list(by_digest.values())


def pairs_of(request: PlanRequest, made: Any, task: Task, manifest: Manifest) -> PairSet:
    if request.pairs is not None:
        return read_pairs(request.pairs, request.env)
    chosen = request.goals, request.goal_steps, request.pair_seed
    pairs = choose_pairs(str(manifest.path), request.split, made, request.env, task, request.count, *chosen)
    if len(pairs.pairs) < request.count:
        print_escaped(f"eval plan: {len(pairs.pairs)} pairs in split {request.split}; {request.count} were asked for")
    return pairs


def action_space(made: Any, environment_id: str, task: Task, models: Sequence[NamedModel], size: int) -> ActionSpace:
    """The bounds of the environment; the scale of the training data of the model, or half the width of the bounds."""
    box = made.action_space
    low, high = (np.asarray(getattr(box, name, np.nan), np.float64).reshape(-1) for name in ("low", "high"))
    if low.shape != (size,) or not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise EvalError(f"{environment_id}: actions are {type(box).__name__}; plans need a Box with finite bounds")
    block, scale = 1, (high - low) / 2
    if models:
        model = models[0].model
        block = model.actions_per_step
        if model.action_size != size * block:
            raise EvalError(
                f"{models[0].spec}: was trained with actions of {model.action_size // block} numbers, and {environment_id} has "
                f"{size}; give the environment that it was trained on"
            )
        scale = np.asarray(model.statistics.action_std)
    tensors = [torch.from_numpy(np.array(values, np.float32)) for values in (low, high, scale)]
    return ActionSpace(tensors[0], tensors[1], tensors[2], block, task.max_norm)


def planning_of(request: PlanRequest, task: Task, models: Sequence[NamedModel], space: ActionSpace) -> Planning:
    if request.executed % space.block:
        raise EvalError(f"--executed {request.executed} is no multiple of the {space.block} actions of a planned step")
    if request.executed > request.horizon * space.block:
        raise EvalError(f"--executed {request.executed} is more than a plan has: {request.horizon * space.block} actions")
    longest = models[0].model.max_context if models else 1
    if request.context is not None and request.context > longest:
        raise EvalError(f"--context {request.context} is more than the {longest} frames that the model sees")
    if request.proposal_count is not None and request.proposals != "recorded":
        raise EvalError(f"--proposal-count {request.proposal_count} is for --proposals recorded, not {request.proposals}")
    budget, usual = request.budget or task.budget, CONTEXT
    if lead_in := lead_in_steps(task):  # all that was seen before the last plan, since the first frames must be remembered
        usual = 1 + (lead_in + max(0, budget - 1) // request.executed * request.executed) // space.block
    context = request.context or min(longest, usual)
    of_request = request.repeat_actions, request.proposals, request.shrinking_horizon, request.proposal_count or RECORDED
    return Planning(planner_of(request), request.executed, request.cost_steps, budget, context, *of_request)


def planner_of(request: PlanRequest) -> PlannerBase:
    shared = {"horizon": request.horizon, "std": request.std, "samples": request.samples, "iterations": request.iterations}
    if request.planner != "gradient" and request.elites > request.samples:
        raise EvalError(f"--elites {request.elites} is more than --samples {request.samples}")
    if request.planner == "gradient":
        return GradientConfig(**shared)
    kind = {"cem": CEMConfig, "icem": ICEMConfig, "mppi": MPPIConfig}[request.planner]
    found: PlannerBase = kind(**shared, elites=request.elites)
    return found


def chosen_policies(request: PlanRequest, there: Sequence[str], left_out: Mapping[str, str]) -> list[str]:
    """The policies to evaluate. left_out: why policies are not there. Raises EvalError for a named policy that is not there."""
    if request.policies is None:
        return list(there)
    wanted = request.policies.split(",")
    if unknown := [name for name in wanted if name not in there]:
        why = "".join(f"{left_out[name]}; " for name in dict.fromkeys(unknown) if name in left_out)
        raise EvalError(f"--policies {', '.join(unknown)}: {why}there are {', '.join(there)}")
    return [name for name in there if name in wanted]


def identity(request: PlanRequest, pairs: PairSet, planning: Planning, models: Sequence[NamedModel], manifest: Manifest) -> str:
    """Digest of all that determines the episodes and the offline measures, so that parts of another evaluation are not used.

    The manifest counts because behaviour cloning and inverse dynamics are trained on it.
    """
    # statistics are no weights: they are part of the config, and hashes of weights do not contain them
    statistics = [(it.model.actions_per_step, it.model.statistics.as_json()) for it in models]
    what = [
        request.env,
        request.env_options,
        request.task,
        asdict(pairs),
        {**asdict(planning), "config": planning.config.model_dump(mode="json")},
        [(it.hash, it.heads_hash) for it in models],
        statistics,
        manifest.digest(),
        request.split,  # of the episodes for offline measures; pairs that were given may be of another one
        OFFLINE_EPISODES,
        source_digest(),
    ]
    return digest_of(what)


@dataclass(frozen=True)
class Prepared:
    """All that an evaluation of planning needs beside the weights of a model."""

    task: Task
    manifest: Manifest
    pairs: PairSet
    space: ActionSpace
    planning: Planning
    size: int  # numbers of an action of the environment
    request: PlanRequest  # with the options of the environment
    notes: tuple[str, ...]  # for the user, and for the results


def prepare(request: PlanRequest, models: Sequence[NamedModel]) -> Prepared:
    """Find task, pairs and bounds of actions. Raises EvalError, and PrepError for environments that cannot be used."""
    manifest = open_manifest(request, models)
    request, notes = recorded_options(request, manifest)
    task = find_task(request.env, request.env_options, request.task)
    made = make_environment(request.env, request.env_options)
    try:
        check_environment(made, request.env)
        size = action_size(made, request.env)
        pairs = pairs_of(request, made, task, manifest)
        if models:
            pairs = without_trained_on(pairs, training_manifests(request, models, manifest))
        picture_of(made, request.env, task, pairs.goals_array[0])
        space = action_space(made, request.env, task, models, size)
    finally:
        made.close()
    planning = planning_of(request, task, models, space)
    notes += notes_on_models(models, request.horizon)
    if pairs.removed_trained_on:
        notes.append(f"{pairs.removed_trained_on} pairs are not used, because a model was trained on their episodes")
    return Prepared(task, manifest, pairs, space, planning, size, request, tuple(notes))


def measured_offline(prepared: Prepared, of: NamedModel, device: torch.device) -> tuple[dict[str, Any], list[Recorded]]:
    """Measures of a model on held-out episodes, and these episodes."""
    request, model, task, planning = prepared.request, of.model, prepared.task, prepared.planning
    read = model, prepared.manifest, request.split, OFFLINE_EPISODES, device
    episodes = read_recorded(*read, keep_frames=True, size_px=of.size_px)
    space, norm = prepared.space, prepared.space.max_norm or float("inf")
    bounds = np.maximum(space.low.double().numpy(), -norm), np.minimum(space.high.double().numpy(), norm)
    say = lambda note: print_escaped(f"eval plan: {note}")  # noqa: E731
    found = measure(model, episodes, planning.context, task, prepared.size, bounds, device, steps=planning.steps, report=say)
    if isinstance(task, WatchedTask):
        contexts = sorted({planning.context, 1}, reverse=True)
        found["permanence"] = measure_permanence(
            model, request.env, request.env_options, task, prepared.pairs, contexts, device
        )
    return found, episodes
