"""Planning for several environments at once: search for the actions that minimise a cost, or predict them.

    cost = lambda actions: ...  # [B, S, H, A] -> [B, S], for example by a model's rollouts
    space = ActionSpace.box([-1, -1], [1, 1])
    plan = search(cost, space, CEMConfig(horizon=10), generators_of(seeds=[0, 1, 2]))
    plan.actions  # [3, 10, 2]

B environments, S candidate sequences of each, H steps, A numbers per step. Each environment has a
random generator of its own, so its plan does not depend on the others. A new planner is a new file
here and a line in PLANNERS and in PlannerConfig. `inverse_plan` does not search: a model of inverse
dynamics, such as a GoalHead, predicts the actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from worldmodel.planning.action_space import ActionSpace
from worldmodel.planning.cem import CEMConfig, cem
from worldmodel.planning.goal_cost import goal_distance
from worldmodel.planning.goal_head import GoalHead
from worldmodel.planning.goal_head_fitting import GoalHeadConfig, GoalHeadFit, Trajectories, fit_goal_head
from worldmodel.planning.gradient import GradientConfig, gradient_shooting
from worldmodel.planning.icem import ICEMConfig, icem
from worldmodel.planning.inverse import Imagine, InverseModel, inverse_plan
from worldmodel.planning.mppi import MPPIConfig, mppi
from worldmodel.planning.noise import generators_of
from worldmodel.planning.plan import Context, Cost, Plan, PlanningError, WarmStart
from worldmodel.planning.planner_config import PlannerBase

PlannerConfig = Annotated[CEMConfig | ICEMConfig | MPPIConfig | GradientConfig, Field(discriminator="kind")]

PLANNERS: dict[type[PlannerBase], Callable[..., Plan]] = {
    CEMConfig: cem,
    ICEMConfig: icem,
    MPPIConfig: mppi,
    GradientConfig: gradient_shooting,
}


def search(
    cost: Cost,
    space: ActionSpace,
    config: PlannerBase,
    generators: Sequence[torch.Generator],
    start: WarmStart | None = None,
    proposals: Tensor | None = None,
) -> Plan:
    """Plan with the planner that a config describes; one generator per environment.

    start: where the search begins. proposals: sequences [B, P, H, A], for example recorded ones, that are candidates of the
    first iteration beside the sampled ones. Raises PlanningError.
    """
    return PLANNERS[type(config)](cost, space, config, generators, start, proposals)


__all__ = [
    "PLANNERS",
    "ActionSpace",
    "CEMConfig",
    "Context",
    "Cost",
    "GoalHead",
    "GoalHeadConfig",
    "GoalHeadFit",
    "GradientConfig",
    "ICEMConfig",
    "Imagine",
    "InverseModel",
    "MPPIConfig",
    "Plan",
    "PlannerBase",
    "PlannerConfig",
    "PlanningError",
    "Trajectories",
    "WarmStart",
    "cem",
    "fit_goal_head",
    "generators_of",
    "goal_distance",
    "gradient_shooting",
    "icem",
    "inverse_plan",
    "mppi",
    "search",
]
