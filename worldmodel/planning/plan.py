"""What planners take and return: a context, a cost function, a warm start, and a plan."""

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
class Context:
    """What was observed or imagined until now, of B environments."""

    latents: Tensor  # [B, T, N, D]
    before: Tensor | None = None  # actions between them [B, T - 1, A], in units of the environment; None for one step

    @property
    def last(self) -> Tensor:
        """The present latents, [B, N, D]."""
        return self.latents[:, -1]

    def __getitem__(self, rows: slice) -> Context:
        return Context(self.latents[rows], None if self.before is None else self.before[rows])

    def after(self, actions: Tensor, latents: Tensor) -> Context:
        """The same one planned step later: the actions [B, A], and the latents [B, N, D] to which they led."""
        if self.before is None and self.latents.shape[1] > 1:
            steps = self.latents.shape[1]
            raise PlanningError(f"a context of {steps} latent steps needs the {steps - 1} actions between them; give `before`")
        known = [] if self.before is None else [self.before]
        before = torch.cat([*known, actions[:, None]], dim=1)
        return Context(torch.cat([self.latents, latents[:, None]], dim=1), before)


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

    def shortened(self, steps: int) -> WarmStart:
        """The same without the first `steps` planned steps, for a next plan that ends where this one ends."""
        if not 0 <= steps < self.mean.shape[1]:
            raise PlanningError(f"{steps} steps were executed of a plan of {self.mean.shape[1]}; expected that a step is left")
        return WarmStart(self.mean[:, steps:], self.elites[:, :, steps:])


def _shift(plans: Tensor, steps: int) -> Tensor:
    """[..., H, A]: drop the first steps, and repeat the last one."""
    last = plans[..., -1:, :].expand(*plans.shape[:-2], steps, plans.shape[-1])
    return torch.cat([plans[..., steps:, :], last], dim=-2)


@dataclass(frozen=True)
class Plan:
    """The result of a search, or of a rollout of inverse dynamics, for B environments."""

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
