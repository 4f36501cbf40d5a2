"""What planners take and return: a cost function, a warm start, and a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Cost = Callable[[Tensor], Tensor]
"""Costs of action sequences: [B, S, H, A] -> [B, S]. The lowest is the best. NaN counts as infinite."""


class PlanningError(ValueError):
    """Planning is impossible with what was given. The message says what was expected."""


@dataclass(frozen=True)
class WarmStart:
    """Where the next search begins: a mean plan, and the best candidates of the last one."""

    mean: Tensor  # [B, H, A]
    elites: Tensor  # [B, K, H, A], sorted by cost; K may be 0

    def shifted(self, steps: int) -> WarmStart:
        """The same after the first `steps` planned steps were executed. The last step is repeated at the end."""
        if not 0 <= steps <= self.mean.shape[1]:
            raise PlanningError(f"{steps} steps were executed of a plan of {self.mean.shape[1]}")
        return WarmStart(_shift(self.mean, steps), _shift(self.elites, steps))


def _shift(plans: Tensor, steps: int) -> Tensor:
    """[..., H, A]: drop the first steps, and repeat the last one."""
    last = plans[..., -1:, :].expand(*plans.shape[:-2], steps, plans.shape[-1])
    return torch.cat([plans[..., steps:, :], last], dim=-2)


@dataclass(frozen=True)
class Plan:
    """The result of a search for B environments."""

    actions: Tensor  # [B, H, A], within the bounds
    cost: Tensor  # [B], of these actions
    best_cost: Tensor  # [I, B], the lowest cost found up to each iteration
    cost_calls: int  # number of calls of the cost function
    sequences: int  # number of action sequences whose cost was computed, per environment
    next_start: WarmStart  # not shifted yet

    @property
    def predictor_steps(self) -> int:
        """Steps that a model predicts for this plan, per environment: sequences times horizon."""
        return self.sequences * self.actions.shape[1]
