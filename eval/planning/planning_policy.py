"""A policy that plans: search for actions through a model, or through a copy of the environment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.environments.tasks import Task
from eval.planning.action_model import ActionModel
from eval.planning.episodes import History, Spent
from worldmodel.planning import ActionSpace, Cost, PlannerBase, WarmStart, generators_of, search

Array = NDArray[np.float64]


class Costs(Protocol):
    """Gives the cost function of a search."""

    context: int

    def cost(self, history: History) -> Cost:
        """[B, S, H, block * A] -> [B, S]"""


class Proposals(Protocol):
    """Names sequences that are candidates of a search beside the sampled ones."""

    context: int

    def propose(self, history: History, horizon: int) -> torch.Tensor:
        """[B, P, horizon, block * A]"""


class PlanningPolicy:
    """Replans after `executed` steps of the environment, a multiple of the actions of a planned step."""

    def __init__(
        self,
        costs: Costs,
        space: ActionSpace,
        config: PlannerBase,
        executed: int,
        seeds: Sequence[int],
        device: str = "cpu",
        proposals: Proposals | None = None,
        shrinking: bool = False,
    ) -> None:
        self.context = max(costs.context, proposals.context if proposals else 0)
        self._costs, self._space, self._config, self._executed = costs, space, config, executed
        self._proposals, self._shrinking = proposals, shrinking
        self._generators = generators_of(seeds, device)
        self._start: WarmStart | None = None
        self._actions = np.zeros(0)
        self._since = self._until = 0  # steps of the environment: of the last plan, and of the next one
        self._plans, self._predicted, self._seconds = 0, 0, 0.0

    def act(self, history: History) -> Array:
        if history.step == self._until:
            self._plan(history)
        chosen: Array = self._actions[:, history.step - self._since]
        return chosen

    def _plan(self, history: History) -> None:
        """Search for the actions of the next steps."""
        began = time.process_time()
        block = self._space.block
        horizon, actions = plan_at(history.step, self._config.horizon, self._executed, block, self._shrinking)
        config = self._config.model_copy(update={"horizon": horizon})
        proposed = self._proposals.propose(history, horizon) if self._proposals else None
        plan = search(self._costs.cost(history), self._space, config, self._generators, self._start, proposed)
        executed = actions // block
        if not self._shrinking:
            self._start = plan.next_start.shifted(executed)
        else:
            self._start = plan.next_start.shortened(executed) if executed < horizon else None
        self._actions = self._space.sequence(plan.actions).double().cpu().numpy()
        self._since, self._until = history.step, history.step + actions
        self._plans, self._predicted = self._plans + 1, self._predicted + plan.predictor_steps
        self._seconds += (time.process_time() - began) / len(self._generators)

    def spent(self) -> Spent:
        return Spent(self._plans, self._predicted, self._seconds)


def plan_at(step: int, horizon: int, executed: int, block: int, shrinking: bool) -> tuple[int, int]:
    """Planned steps of a plan that is made at a step of the environment, and how many of its actions are executed.

    shrinking: plans end where the first one ends, and then again a horizon later.
    """
    if shrinking:
        horizon -= step // block % horizon
    return horizon, min(executed, horizon * block)


class ModelCosts:
    """Costs by a model: distances of imagined latents to those of the goal pictures."""

    def __init__(self, model: ActionModel, goals: torch.Tensor, context_steps: int, steps: str, samples_at_once: int) -> None:
        self._model, self._steps, self._at_once = model, steps, samples_at_once
        self._goals = goals  # [B, N, D]
        self._block = model.actions_per_step
        self._context_steps = context_steps  # pictures that the model sees
        self.context = 1 + (context_steps - 1) * self._block

    @torch.no_grad()
    def cost(self, history: History) -> Cost:
        context = observe(self._model, history, self._context_steps, self._goals.device)
        cost = self._model.goal_cost(context, self._goals, steps=self._steps)
        return lambda actions: torch.cat([cost(part) for part in actions.split(self._at_once, 1)], 1)


def last_pictures(history: History, block: int, count: int) -> list[NDArray[np.uint8]]:
    """The last pictures that are a planned step of `block` actions apart, at most `count`, the newest last: [B, H, W, 3]."""
    return list(history.pictures)[::-1][::block][:count][::-1]


def observe(model: ActionModel, history: History, context_steps: int, device: torch.device) -> Any:
    """Encode the last pictures that are a planned step apart, with the actions between them."""
    block = model.actions_per_step
    chosen = last_pictures(history, block, context_steps)
    frames = torch.from_numpy(np.stack(chosen, 1)).to(device)
    between = (len(chosen) - 1) * block
    if not between:
        return model.observe(frames)
    actions = np.stack(history.actions[-between:], 1)  # [B, between, A]
    blocks = actions.reshape(len(actions), len(chosen) - 1, -1)
    return model.observe(frames, torch.from_numpy(blocks).float().to(device))


class OracleCosts:
    """Costs by a copy of the environment without noise.

    measure: "distance" (squared, as of the states; it knows no obstacles) or "to go" (length of the way).
    """

    context = 0

    def __init__(self, task: Task, goals: Array, block: int, measure: str, steps: str) -> None:
        self._task, self._goals, self._block, self._measure, self._steps = task, goals, block, measure, steps

    def cost(self, history: History) -> Cost:
        def cost(actions: torch.Tensor) -> torch.Tensor:
            planned = actions.double().numpy()
            single = planned.reshape(*planned.shape[:2], planned.shape[2] * self._block, -1)
            now = np.broadcast_to(history.states[:, None], (*single.shape[:2], history.states.shape[1]))
            total = np.zeros(single.shape[:2])
            for number in range(single.shape[2]):
                now = self._task.step(now, single[:, :, number])
                if self._steps == "all" or number == single.shape[2] - 1:
                    total += self._cost_of(now)
            return torch.from_numpy(total)

        return cost

    def _cost_of(self, states: Array) -> Array:
        goals = self._goals[:, None]
        return self._task.to_go(states, goals) if self._measure == "to go" else self._task.distance(states, goals) ** 2
