"""Planning by inverse dynamics: the actions towards a goal are predicted, not searched.

A model of inverse dynamics maps (now, goal, steps left) to the next actions. Here it is rolled out in
imagination: it names the actions of a planned step, the world model predicts the latents after them,
and from there it names those of the next step. This needs one prediction per step, where a search
needs one per step and candidate. Nothing corrects an inverse model that is wrong; a search does, if
the plan is its warm start (`plan.next_start`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from worldmodel.planning.action_space import ActionSpace
from worldmodel.planning.goal_cost import goal_distance
from worldmodel.planning.plan import Context, Plan, PlanningError, WarmStart

InverseModel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Actions of the next planned step: latents of now and of the goal [B, N, D], planned steps left [B] -> [B, A]."""

Imagine = Callable[[Context, Tensor], Tensor]
"""Predicted latents after each planned step: a context, actions [B, S, H, A] -> [B, S, H, N, D]."""


@torch.no_grad()
def inverse_plan(
    inverse: InverseModel,
    imagine: Imagine,
    context: Context,
    goal: Tensor,
    space: ActionSpace,
    horizon: int,
    steps_left: Tensor | float | None = None,
) -> Plan:
    """Plan `horizon` steps towards goals [B, N, D] by inverse dynamics. There are no random numbers.

    steps_left: planned steps to the goal, a number or [B] (default: the horizon). The inverse model is told one less at
    every step, and at least 1. Actions are clipped to the bounds before the world model sees them. The cost of the plan
    is the `goal_distance` of its last step. Raises PlanningError.
    """
    now = context.last
    if now.ndim != 3 or not len(now) or now.shape != goal.shape:
        raise PlanningError(f"latents of now {list(now.shape)} and of the goal {list(goal.shape)}; expected [B, N, D] for both")
    if horizon < 1:
        raise PlanningError(f"horizon {horizon}; expected 1 planned step or more")
    left = _steps_left(horizon if steps_left is None else steps_left, now)
    named, actions, predicted = [], [], []
    for step in range(horizon):
        found = inverse(context.last, goal, (left - step).clamp(min=1))
        _check_shape("the inverse model", found, (len(now), space.size), f"; a planned step has {space.block} actions")
        chosen = space.clip(found.to(now.device))
        following = imagine(context, chosen[:, None, None])
        _check_shape("the world model", following, (len(now), 1, 1, *now.shape[1:]), " for one sequence of one step")
        context = context.after(chosen, following[:, 0, 0])
        named.append(found)
        actions.append(chosen)
        predicted.append(following[:, 0, 0])
    planned, latents = torch.stack(actions, 1), torch.stack(predicted, 1)
    _check_finite(torch.stack(named, 1).to(now.device), latents)
    cost = goal_distance(latents[:, None], goal)[:, 0]
    return Plan(planned, cost, cost[None], cost_calls=1, sequences=1, next_start=WarmStart(planned, planned[:, None]))


def _steps_left(given: Tensor | float, now: Tensor) -> Tensor:
    """[B], on the device of the latents."""
    left = torch.as_tensor(given, dtype=torch.float32, device=now.device)
    if left.shape not in ((), (len(now),)):
        raise PlanningError(f"steps_left has shape {list(left.shape)}; expected a number, or one per environment: [{len(now)}]")
    if not bool((left.isfinite() & (left >= 0)).all()):
        raise PlanningError(f"steps_left {left.tolist()}; expected finite numbers of planned steps, 0 or more")
    return left.expand(len(now))


def _check_shape(who: str, found: Tensor, expected: tuple[int, ...], why: str) -> None:
    if tuple(found.shape) != expected:
        raise PlanningError(f"{who} returned shape {list(found.shape)}; expected {list(expected)}{why}")


def _check_finite(actions: Tensor, latents: Tensor) -> None:
    """Name the first environment and step where actions [B, H, A], before clipping, or latents [B, H, N, D] are not finite."""
    broken = torch.stack([~actions.isfinite().all(-1), ~latents.isfinite().flatten(2).all(-1)], -1)  # [B, H, 2]
    if bool(broken.any()):
        row, step, which = broken.nonzero()[0].tolist()
        who = "the world model predicted latents" if which else "the inverse model returned actions"
        raise PlanningError(
            f"environment {row}, planned step {step}: {who} that are NaN or infinite; look at the latents of now and of the "
            "goal, and at the weights"
        )
