"""Gradient shooting: several starts, each improved by Adam through the cost, and projected to the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from worldmodel.planning.action_space import ActionSpace
from worldmodel.planning.candidates import Candidates, best_of, checked_proposals, first_mean
from worldmodel.planning.noise import white_noise
from worldmodel.planning.plan import Cost, Plan, PlanningError, WarmStart
from worldmodel.planning.planner_config import PlannerBase

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Kingma and Ba 2015


class GradientConfig(PlannerBase):
    """Adam from several starts. The plan is the best sequence of all."""

    kind: Literal["gradient"] = "gradient"
    samples: int = Field(100, ge=1)
    """number of starts; the first one is the mean"""
    iterations: int = Field(30, ge=1)
    """gradient steps"""
    learning_rate: float = Field(0.1, gt=0)
    """step size, in units of the action space's scale"""


def gradient_shooting(
    cost: Cost,
    space: ActionSpace,
    config: GradientConfig,
    generators: Sequence[torch.Generator],
    start: WarmStart | None = None,
    proposals: Tensor | None = None,
) -> Plan:
    """Plan by gradient descent on a differentiable cost. A warm start gives the first mean. Raises PlanningError.

    Sequences do not influence each other: the sum of their costs is differentiated. Where the gradient
    is not finite, the sequence is not changed.
    """
    found = Candidates(cost, len(generators))
    mean = first_mean(space, config.horizon, len(generators), generators[0].device, start)
    scale = space.step_scale.to(mean.device)
    noise = white_noise(generators, config.samples - 1, config.horizon, space.size)
    proposed = checked_proposals(proposals, space, mean)
    actions = torch.cat([mean[:, None], space.clip(mean[:, None] + config.std * scale * noise), proposed], dim=1)
    first, second = torch.zeros_like(actions), torch.zeros_like(actions[..., :1])
    for step in range(1, config.iterations + 1):
        with torch.enable_grad():
            actions.requires_grad_()
            costs = found.evaluate(actions)
            if not costs.requires_grad:
                raise PlanningError("the cost has no gradient with respect to the actions; choose cem, icem or mppi instead")
            (gradient,) = torch.autograd.grad(torch.where(costs.isfinite(), costs, 0.0).sum(), actions)
        gradient = torch.where(gradient.isfinite(), gradient, 0.0) * scale
        first = _BETA1 * first + (1 - _BETA1) * gradient
        # one number per planned step: with one per dimension the direction would be lost, and the search would stop
        # beside the optimum of a bounded norm
        second = _BETA2 * second + (1 - _BETA2) * gradient.square().mean(-1, keepdim=True)
        change = (first / (1 - _BETA1**step)) / ((second / (1 - _BETA2**step)).sqrt() + _EPSILON)
        actions = space.clip(actions.detach() - config.learning_rate * scale * change)
    with torch.no_grad():
        elites = best_of(actions, found.evaluate(actions), config.samples)
        return found.plan(elites[:, 0], elites, returns_mean=False)
