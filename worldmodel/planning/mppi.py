"""Model predictive path integral control (Williams et al. 2017): a mean of samples, weighted by their costs."""

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


class MPPIConfig(PlannerBase):
    """MPPI with a fixed standard deviation. The plan is the weighted mean of the last iteration."""

    kind: Literal["mppi"] = "mppi"
    samples: int = Field(300, ge=2)
    """sequences per iteration; one of them is the mean"""
    iterations: int = Field(30, ge=1)
    """number of times that the mean is computed"""
    temperature: float = Field(0.5, gt=0)
    """a sequence whose cost is higher by this much, in units of the cost, has a weight lower by the factor e"""
    elites: int | None = Field(None, ge=1)
    """only the best sequences have a weight; null: all"""

    @model_validator(mode="after")
    def _check(self) -> MPPIConfig:
        if self.elites is not None and self.elites > self.samples:
            raise ValueError(f"elites {self.elites} is more than samples {self.samples}")
        return self


@torch.no_grad()
def mppi(
    cost: Cost,
    space: ActionSpace,
    config: MPPIConfig,
    generators: Sequence[torch.Generator],
    start: WarmStart | None = None,
    proposals: Tensor | None = None,
) -> Plan:
    """Plan by MPPI. A warm start gives the first mean. Raises PlanningError."""
    found = Candidates(cost, len(generators))
    mean = first_mean(space, config.horizon, len(generators), generators[0].device, start)
    std = (config.std * space.step_scale).to(mean.device)
    count = config.elites or config.samples
    proposed = checked_proposals(proposals, space, mean)
    for _ in range(config.iterations):
        noise = white_noise(generators, config.samples - 1, config.horizon, space.size)
        actions = torch.cat([mean[:, None], space.clip(mean[:, None] + std * noise), proposed], dim=1)
        proposed = proposed[:, :0]  # they compete once
        costs = found.evaluate(actions)
        elites, lowest = best_of(actions, costs, count), costs.sort(dim=1, stable=True).values[:, :count]
        # relative to the lowest cost, so that no weight overflows
        weights = torch.softmax((lowest[:, :1] - lowest) / config.temperature, dim=1)
        mean = space.clip((weights[:, :, None, None] * elites).sum(dim=1))
    return found.plan(mean, elites, returns_mean=True)
