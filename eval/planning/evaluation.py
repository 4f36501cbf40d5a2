"""All policies on the same pairs: which there are, and their episodes in resumable pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from data_prep.environments.making import make_environment
from data_prep.environments.tasks import StillTask, Task
from eval.planning.action_model import ActionModel, ShuffledActions
from eval.planning.episodes import Cases, Environments, Episodes, Policy, episode_seed, picture_of, run_episodes
from eval.planning.heads.note import PROPOSALS
from eval.planning.heads.policy import HeadPolicy
from eval.planning.heads.proposals import RECORDED, InverseProposals, RecordedProposals
from eval.planning.heads.training import TrainedHead
from eval.planning.pairs import PairSet
from eval.planning.planning_policy import Costs, ModelCosts, OracleCosts, PlanningPolicy, Proposals
from eval.planning.policies import RandomPolicy, StatePolicy
from eval.resumable_work import compute_pieces
from worldmodel.planning import ActionSpace, GradientConfig, PlannerBase

Array = NDArray[np.float64]

LABELS = {
    "model": "model",
    "nothing": "do nothing",
    "random": "random actions",
    "straight": "straight line",
    "scripted": "scripted",
    "cloning": "behaviour cloning",
    "inverse": "inverse dynamics",
    "untrained": "untrained model",
    "shuffled": "shuffled actions",
    "memoryless": "same model, one frame",
    "oracle": "oracle, distance",
    "oracle_to_go": "oracle, way to go",
}
"""In the order of tables."""
MODEL_POLICIES = ("model", "untrained", "shuffled", "memoryless", "cloning", "inverse")
BATCH = 25  # episodes that are planned at once, and stored together, at most; whole matched pairs
UNTRAINED_APART = 10_007  # seeds between the untrained networks of two models, so that each has its own
SAMPLES_AT_ONCE = 512  # candidate sequences per call of a model and environment


@dataclass(frozen=True)
class Planning:
    """What all planners share."""

    config: PlannerBase
    executed: int  # steps of the environment before the next plan
    steps: str  # of the cost: all or last
    budget: int
    context: int  # frames that the model sees
    repeat_actions: bool = False  # of a planned step: its actions are the same
    proposals: str = "none"  # candidates of a search beside the sampled ones: none, inverse or recorded
    shrinking: bool = False  # plans end where the first one ends, and then again a horizon later
    recorded_count: int = RECORDED  # sequences that are proposed to each search where proposals are recorded


@dataclass(frozen=True)
class Evaluation:
    """An environment, its task and pairs, and a model."""

    environment_id: str
    options: dict[str, Any]
    task: Task
    pairs: PairSet
    space: ActionSpace  # of the model: its block is the number of actions per planned step
    planning: Planning
    model: ActionModel | None
    heads: Mapping[str, TrainedHead]
    device: torch.device
    number: int = 0  # of the model among those that are compared
    recorded: Sequence[NDArray[np.float32]] = ()  # actions of episodes of train, [T, A], for proposals

    def cases(self, numbers: Sequence[int]) -> Cases:
        chosen = list(numbers)
        return Cases(tuple(chosen), self.pairs.starts[chosen], self.pairs.goals_array[chosen])

    def names(self) -> list[str]:
        """The policies that can be evaluated, in the order of tables."""
        start, goal = self.pairs.starts[:1], self.pairs.goals_array[:1]
        absent = {
            "straight": self.task.straight(start, goal) is None,
            "scripted": self.task.scripted(start, goal) is None,
            "cloning": "cloning" not in self.heads,
            "inverse": "inverse" not in self.heads,
            **dict.fromkeys(self.left_out(), True),
        }
        return [
            name for name in LABELS if not absent.get(name, False) and (self.model is not None or name not in MODEL_POLICIES)
        ]

    def left_out(self) -> dict[str, str]:
        """Policies that planner or context make impossible or meaningless, with the reason as a sentence."""
        found = {}
        if self.model is not None and self.planning.context == 1:
            found["memoryless"] = "the model itself sees one frame"
        if isinstance(self.planning.config, GradientConfig):
            copies = "the copy of the environment has no gradient, which this planner needs"
            found |= {"oracle": copies, "oracle_to_go": copies}
            if self.model is not None:
                # the gradient of the sum of all costs reaches each candidate through the cost of another one
                found["shuffled"] = "the gradient planner improves the right actions in spite of the wrong costs"
        return {name: f"{LABELS[name]} is left out: {reason}" for name, reason in found.items()}

    def policy(self, name: str, cases: Cases, seed: int) -> Policy:
        """A policy for some pairs. Its random numbers depend on the (matched) pair and the planning seed alone."""
        searched = replace(self.space, repeated=self.planning.repeat_actions)
        seeds = [episode_seed(seed + 1_000_003, number // self.pairs.members) for number in cases.numbers]
        if name == "nothing":
            if isinstance(self.task, StillTask):
                return StatePolicy(self.task.still)
            centre = self.space.centre()[: len(self.space.low)].double().numpy()
            return StatePolicy(lambda states: np.tile(centre, (len(states), 1)))
        if name == "random":
            return RandomPolicy(self.space, seeds)
        if name in ("straight", "scripted"):
            act = self.task.straight if name == "straight" else self.task.scripted
            return StatePolicy(lambda states: np.asarray(act(states, cases.goals)))
        if name in ("oracle", "oracle_to_go"):
            measure = "to go" if name == "oracle_to_go" else "distance"
            costs = OracleCosts(self.task, cases.goals, self.space.block, measure, self.planning.steps)
            return self._planner(costs, searched, seeds, self._proposals(searched, cases, seeds, self.planning.context))
        assert self.model is not None
        if name in self.heads:
            steps = self.pairs.goal_steps, self.planning.budget
            return HeadPolicy(self.heads[name], self.model, self._goals(self.model, cases), self.space, *steps)
        model: ActionModel = self.model
        if name == "untrained":
            model = self.model.untrained(seed + UNTRAINED_APART * self.number)
        elif name == "shuffled":
            model = ShuffledActions(self.model)
        context = 1 if name == "memoryless" else self.planning.context
        found = ModelCosts(model, self._goals(model, cases), context, self.planning.steps, SAMPLES_AT_ONCE)
        # an untrained model gets the proposals of the trained one, so that the two differ in their costs alone
        return self._planner(found, searched, seeds, self._proposals(searched, cases, seeds, context))

    def _planner(self, costs: Costs, space: ActionSpace, seeds: Sequence[int], proposals: Proposals | None) -> PlanningPolicy:
        how = self.planning
        return PlanningPolicy(costs, space, how.config, how.executed, seeds, str(self.device), proposals, how.shrinking)

    def _proposals(self, searched: ActionSpace, cases: Cases, seeds: Sequence[int], context: int) -> Proposals | None:
        """Recorded sequences, or plans of inverse dynamics with the trained model, where the evaluation has them."""
        if self.recorded:
            return RecordedProposals(self.recorded, searched, seeds, self.planning.recorded_count)
        if self.model is None or PROPOSALS not in self.heads:
            return None
        goals = self._goals(self.model, cases)
        return InverseProposals(self.heads[PROPOSALS], self.model, goals, searched, context)

    @torch.no_grad()
    def _goals(self, model: ActionModel, cases: Cases) -> torch.Tensor:
        """Latents of the goal pictures, [B, N, D]."""
        environment = make_environment(self.environment_id, self.options)
        try:
            pictures = [picture_of(environment, self.environment_id, self.task, goal) for goal in cases.goals]
        finally:
            environment.close()
        return model.encode(torch.from_numpy(np.stack(pictures)[:, None]).to(self.device))[:, -1]


def run_policies(
    evaluation: Evaluation, names: Sequence[str], seeds: Sequence[int], parts: Path, ranks: PartialState
) -> dict[str, list[Episodes]]:
    """Episodes by policy, one set per planning seed. Finished pieces in `parts` are used again."""
    found: dict[str, list[Episodes]] = {}
    for name in names:
        for seed in seeds:
            files = _run_pieces(evaluation, name, seed, parts / f"{name}-{seed}", ranks)
            found.setdefault(name, []).append(Episodes.join([Episodes.load(file) for file in files]))
    return found


def _run_pieces(evaluation: Evaluation, name: str, seed: int, folder: Path, ranks: PartialState) -> list[Path]:
    if ranks.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
    ranks.wait_for_everyone()
    count = len(evaluation.pairs.pairs)
    size = max(1, BATCH // evaluation.pairs.members) * evaluation.pairs.members
    pieces = [range(first, min(first + size, count)) for first in range(0, count, size)]
    work: Callable[[range, Path], None] = partial(_run_piece, evaluation, name, seed)
    what = f"{LABELS[name]}, seed {seed}"
    return compute_pieces(what, pieces, lambda index: folder / f"{index:05d}.npz", lambda piece: piece, work, ranks)


def _run_piece(evaluation: Evaluation, name: str, seed: int, piece: range, file: Path) -> None:
    cases = evaluation.cases(piece)
    environments = Environments(evaluation.environment_id, evaluation.options, evaluation.task, cases, seed)
    try:
        policy = evaluation.policy(name, cases, seed)
        episodes = run_episodes(environments, policy, evaluation.planning.budget, len(evaluation.space.low))
    finally:
        environments.close()
    episodes.save(file)
