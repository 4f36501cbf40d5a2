"""iCEM (Pinneri et al. 2020): CEM with correlated noise, elites that stay, and fewer samples in later iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from worldmodel.planning.action_space import ActionSpace
from worldmodel.planning.candidates import Candidates, best_of, checked_proposals, first_mean
from worldmodel.planning.cem import CEMConfig, refit
from worldmodel.planning.noise import coloured_noise
from worldmodel.planning.plan import Cost, Plan, PlanningError, WarmStart


class ICEMConfig(CEMConfig):
    """iCEM. The defaults are those of the paper, except for the numbers of samples, elites and iterations of CEM."""

    kind: Literal["icem"] = "icem"  # type: ignore[assignment]
    momentum: float = Field(0.1, ge=0, lt=1)
    """weight of the old mean and standard deviation in the new ones"""
    noise_exponent: float = Field(2.0, ge=0)
    """the power of the noise falls with frequency f as f^-noise_exponent; 0 is white noise"""
    kept_fraction: float = Field(0.3, ge=0, le=1)
    """fraction of the elites that compete in the next iteration, and after `shifted` in the next search"""
    sample_decay: float = Field(1.25, ge=1)
    """each iteration draws this many times fewer samples, but at least two per elite"""

    def samples_at(self, iteration: int) -> int:
        """Number of new samples in an iteration, counted from 0."""
        return max(round(self.samples * self.sample_decay**-iteration), min(2 * self.elites, self.samples))


@torch.no_grad()
def icem(
    cost: Cost,
    space: ActionSpace,
    config: ICEMConfig,
    generators: Sequence[torch.Generator],
    start: WarmStart | None = None,
    proposals: Tensor | None = None,
) -> Plan:
    """Plan by iCEM. A warm start gives the first mean and the first elites. Raises PlanningError.

    The mean competes in the last iteration only: earlier it would narrow the distribution (section
    3.3 of the paper).
    """
    found = Candidates(cost, len(generators))
    mean = first_mean(space, config.horizon, len(generators), generators[0].device, start)
    std = (config.std * space.step_scale).to(mean.device).expand_as(mean)
    elites = mean[:, None][:, :0] if start is None else start.elites
    if elites.shape[0] != len(mean) or elites.shape[2:] != mean.shape[1:]:
        raise PlanningError(f"the elites of the warm start have shape {list(elites.shape)}; expected [B, K, H, A] of its mean")
    kept = round(config.kept_fraction * config.elites)
    proposed = checked_proposals(proposals, space, mean)
    for iteration in range(config.iterations):
        count = config.samples_at(iteration)
        noise = coloured_noise(generators, count, config.horizon, space.size, config.noise_exponent)
        is_last = iteration == config.iterations - 1
        others = [elites[:, :kept], mean[:, None]] if is_last else [elites[:, :kept]]
        actions = space.clip(torch.cat([mean[:, None] + std[:, None] * noise, *others, proposed], dim=1))
        proposed = proposed[:, :0]  # they compete once, unless they are among the elites
        elites = best_of(actions, found.evaluate(actions), config.elites)
        mean, std = refit(space, elites, mean, std, config.momentum)
    return found.plan(mean, elites, config.returns == "mean")
