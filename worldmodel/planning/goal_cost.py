"""Cost of predicted latents: their distance to the latents of a goal."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from worldmodel.planning.plan import PlanningError


def goal_distance(
    predicted: Tensor, goal: Tensor, steps: Literal["last", "all"] = "last", norm: Literal["l1", "l2"] = "l2"
) -> Tensor:
    """Distance of predicted latents [B, S, H, ...] to goal latents [B, ...]: [B, S].

    l1: mean absolute difference of the features; l2: mean squared difference. last: of the last step,
    as in DINO-WM and V-JEPA 2-AC; all: summed over the steps, as in EB-JEPA and PLDM.
    """
    if predicted.ndim < 4 or predicted.shape[3:] != goal.shape[1:] or len(predicted) != len(goal):
        raise PlanningError(
            f"predictions {list(predicted.shape)} and goals {list(goal.shape)} do not fit; expected [B, S, H, ...] and [B, ...]"
        )
    chosen = predicted[:, :, -1:] if steps == "last" else predicted
    difference = (chosen - goal[:, None, None]).flatten(3)
    return (difference.abs() if norm == "l1" else difference.square()).mean(-1).sum(-1)
