"""The actions of rollouts: those that were recorded, and those of another window beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.models.causal import CausalWorldModel
from worldmodel.models.condition import ActionInput, condition_arguments
from worldmodel.models.world_model import WorldModel
from worldmodel.render.actions import ActionNames, ShownActions


@dataclass(frozen=True)
class RolloutActions:
    """Actions between the frames of one clip, in units of the environment."""

    recorded: Tensor  # [T - 1, k * A]
    other: Tensor  # [T - 1, k * A], from the end of the context on those of another window


def action_input(model: WorldModel) -> ActionInput | None:
    """What a model knows of its actions; None where it takes none."""
    return model.action_input if isinstance(model, CausalWorldModel) else None


def with_other_actions(actions: Tensor, context_frames: int) -> Tensor:
    """Give each window the actions of the next one from the end of its context on: [B, T - 1, A] -> [B, T - 1, A].

    A single window gets its own actions in reverse order.
    """
    other = actions.roll(-1, 0) if len(actions) > 1 else actions.flip(1)
    return torch.cat((actions[:, : context_frames - 1], other[:, context_frames - 1 :]), dim=1)


def shown_actions(
    model: WorldModel,
    given: RolloutActions,
    context: Tensor,
    target: Tensor,
    decode: Callable[[Tensor], np.ndarray] | None,
    nearest: Callable[[Tensor], tuple[np.ndarray, np.ndarray]] | None,
) -> ShownActions | None:
    """Roll out under the other actions, and return both for pictures; None for a model without actions.

    context: normalised pixels [1, C, 3, H, W]. target: latents of the ground truth [1, T/f, N, D]. decode, nearest: draw
    latents [1, T/f, N, D] as frames, by the decoder and by the nearest training frames.
    """
    known = action_input(model)
    if known is None:
        return None
    steps = context.shape[1] // model.tubelet_size
    predicted = model.rollout(context, target.shape[1] - steps, **condition_arguments(given.other[None].to(context.device)))
    prediction = torch.cat((target[:, :steps], predicted), dim=1)
    statistics = known.statistics
    count = len(statistics.action_mean)
    names = statistics.action_names or tuple(f"action[{number}]" for number in range(count))
    recorded, other = (
        actions.unflatten(-1, (statistics.actions_per_step, count)).double().cpu().numpy()
        for actions in (given.recorded, given.other)
    )
    return ShownActions(
        ActionNames(names, statistics.action_units),
        recorded,
        other,
        prediction[0].float().cpu().numpy(),
        model.distance(prediction, target)[0].float().cpu().numpy(),
        None if decode is None else decode(prediction),
        None if nearest is None else nearest(prediction)[0],
    )
