"""Evaluation of candidate sequences, with the best of all of them and the number of evaluations."""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.planning.action_space import ActionSpace
from worldmodel.planning.plan import Cost, Plan, PlanningError, WarmStart


class Candidates:
    """Computes costs of candidates, and remembers the best one of every environment."""

    def __init__(self, cost: Cost, environments: int) -> None:
        if environments < 1:
            raise PlanningError("no environment to plan for; give one random generator per environment")
        self._cost, self._environments = cost, environments
        self._calls = self._sequences = 0
        self._best: Tensor | None = None
        self._best_cost: Tensor | None = None
        self._history: list[Tensor] = []

    def evaluate(self, actions: Tensor, ends_iteration: bool = True) -> Tensor:
        """Costs [B, S] of actions [B, S, H, A], which must lie within the bounds. NaN becomes infinite."""
        costs = self._cost(actions)
        if tuple(costs.shape) != tuple(actions.shape[:2]):
            raise PlanningError(
                f"the cost function returned shape {list(costs.shape)} for actions {list(actions.shape)}; expected "
                f"{list(actions.shape[:2])}, one cost per environment and sequence"
            )
        self._calls, self._sequences = self._calls + 1, self._sequences + actions.shape[1]
        costs = torch.where(costs.isnan(), torch.inf, costs)
        lowest, index = costs.detach().min(dim=1)
        candidate = actions.detach()[torch.arange(len(actions), device=actions.device), index]
        if self._best is None or self._best_cost is None:
            self._best, self._best_cost = candidate, lowest
        else:
            better = lowest < self._best_cost
            self._best = torch.where(better[:, None, None], candidate, self._best)
            self._best_cost = torch.where(better, lowest, self._best_cost)
        if not bool(self._best_cost.isfinite().all()):
            row = int((~self._best_cost.isfinite()).nonzero()[0])
            raise PlanningError(
                f"environment {row}: none of {self._sequences} sequences has a finite cost; the model's predictions, or its "
                "goal, are NaN or infinite"
            )
        if ends_iteration:
            self._history.append(self._best_cost)
        return costs

    def plan(self, mean: Tensor, elites: Tensor, returns_mean: bool) -> Plan:
        """The plan after the last iteration; `mean` [B, H, A] is evaluated too."""
        cost = self.evaluate(mean[:, None], ends_iteration=False)[:, 0]
        assert self._best is not None
        assert self._best_cost is not None
        actions, of_plan = (mean, cost) if returns_mean else (self._best, self._best_cost)
        return Plan(actions, of_plan, torch.stack(self._history), self._calls, self._sequences, WarmStart(mean, elites))


def first_mean(space: ActionSpace, horizon: int, environments: int, device: torch.device, start: WarmStart | None) -> Tensor:
    """Where a search begins: the warm start, or the centre of the bounds at every step. [B, H, A], within the bounds."""
    shape = (environments, horizon, space.size)
    if start is None:
        return space.centre().to(device).expand(shape)
    if tuple(start.mean.shape) != shape:
        raise PlanningError(f"the warm start has shape {list(start.mean.shape)}; expected {list(shape)}")
    return space.clip(start.mean)


def checked_proposals(proposals: Tensor | None, space: ActionSpace, mean: Tensor) -> Tensor:
    """Proposed sequences [B, P, H, A] within the bounds; P is 0 where there are none. mean: [B, H, A]."""
    if proposals is None:
        return mean[:, None][:, :0]
    if proposals.ndim != 4 or len(proposals) != len(mean) or proposals.shape[2:] != mean.shape[1:]:
        expected = f"[{len(mean)}, P, {mean.shape[1]}, {mean.shape[2]}]"
        raise PlanningError(f"proposals have shape {list(proposals.shape)}; expected {expected}: P sequences per environment")
    return space.clip(proposals.to(mean))


def best_of(actions: Tensor, costs: Tensor, count: int) -> Tensor:
    """The `count` sequences with the lowest costs, the best first; among equal costs the earlier one.

    [B, S, H, A], [B, S] -> [B, count, H, A].
    """
    order = costs.argsort(dim=1, stable=True)[:, :count]
    return actions[torch.arange(len(actions), device=actions.device)[:, None], order]
