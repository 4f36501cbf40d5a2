"""Cross-entropy method (Rubinstein 1999): sample around a mean, and move mean and spread to the best samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from worldmodel.planning.action_space import ActionSpace
from worldmodel.planning.candidates import Candidates, best_of, checked_proposals, first_mean
from worldmodel.planning.noise import white_noise
from worldmodel.planning.plan import Cost, Plan, WarmStart
from worldmodel.planning.planner_config import PlannerBase


class CEMConfig(PlannerBase):
    """Cross-entropy method. The defaults are those of DINO-WM and LeWM."""

    kind: Literal["cem"] = "cem"
    samples: int = Field(300, ge=2)
    """sequences per iteration; one of them is the mean"""
    elites: int = Field(30, ge=1)
    """the best sequences of an iteration, to which mean and standard deviation are fitted"""
    iterations: int = Field(30, ge=1)
    """number of times that mean and standard deviation are fitted"""
    momentum: float = Field(0.0, ge=0, lt=1)
    """weight of the old mean and standard deviation in the new ones"""
    returns: Literal["best", "mean"] = "best"
    """best: the sequence with the lowest cost of all; mean: the last mean, as in DINO-WM and LeWM"""

    @model_validator(mode="after")
    def _check(self) -> CEMConfig:
        if self.elites > self.samples:
            raise ValueError(f"elites {self.elites} is more than samples {self.samples}")
        return self


@torch.no_grad()
def cem(
    cost: Cost,
    space: ActionSpace,
    config: CEMConfig,
    generators: Sequence[torch.Generator],
    start: WarmStart | None = None,
    proposals: Tensor | None = None,
) -> Plan:
    """Plan by the cross-entropy method. A warm start gives the first mean; proposals compete in the first iteration."""
    found = Candidates(cost, len(generators))
    mean = first_mean(space, config.horizon, len(generators), generators[0].device, start)
    std = (config.std * space.step_scale).to(mean.device).expand_as(mean)
    proposed = checked_proposals(proposals, space, mean)
    for _ in range(config.iterations):
        noise = white_noise(generators, config.samples - 1, config.horizon, space.size)
        actions = torch.cat([mean[:, None], space.clip(mean[:, None] + std[:, None] * noise), proposed], dim=1)
        proposed = proposed[:, :0]  # they compete once
        elites = best_of(actions, found.evaluate(actions), config.elites)
        mean, std = refit(space, elites, mean, std, config.momentum)
    return found.plan(mean, elites, config.returns == "mean")


def refit(space: ActionSpace, elites: Tensor, mean: Tensor, std: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the elites [B, K, H, A], mixed with the old ones [B, H, A]."""
    new_mean, new_std = elites.mean(dim=1), elites.std(dim=1, correction=0)
    return space.clip(momentum * mean + (1 - momentum) * new_mean), momentum * std + (1 - momentum) * new_std
