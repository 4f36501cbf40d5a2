"""Actions as the condition of a predictor: the config, and their normalisation by the train split."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.data.reading import SignalSizes

ConditionKind = Literal["added", "adaln_zero"]
ActionSource = Literal["recorded", "state_difference"]


class ActionStatistics(Config):
    """Statistics of actions and states over the train split. Numbers that never change have the deviation 1."""

    actions_per_step: PositiveInt
    """recorded actions between two frames of a window (frameskip)"""
    action_mean: tuple[float, ...]
    """[A], of a recorded action"""
    action_std: tuple[float, ...]
    """[A]"""
    state_mean: tuple[float, ...] = ()
    """[S]"""
    state_std: tuple[float, ...] = ()
    """[S]"""
    action_names: tuple[str, ...] = ()
    """[A]"""
    state_names: tuple[str, ...] = ()
    """[S]"""
    clips: int = 0
    """clips that were counted"""
    action_units: tuple[str, ...] = ()
    """[A]; empty where an earlier version trained the run"""
    state_units: tuple[str, ...] = ()
    """[S]"""
    constant: tuple[str, ...] = ()
    """names of numbers that never change"""

    @property
    def action_size(self) -> int:
        """Numbers of all actions between two frames: k * A."""
        return self.actions_per_step * len(self.action_mean)


class ConditionConfig(Config):
    """The model takes the actions between frames. The manifest must have signals (docs/planning.md)."""

    kind: ConditionKind = "added"
    """added: a linear map of the actions is added to the tokens of a step; adaln_zero: actions scale, shift and gate what the
    blocks of the predictor add to them, and a new predictor ignores them"""
    actions: ActionSource = "recorded"
    """recorded: the actions of the signals; state_difference: the change of the recorded state from frame to frame, for
    recordings whose actions are missing or not comparable. A plan is then made of such changes"""
    statistics: ActionStatistics | None = None
    """of the train split; filled in when training starts, so that they travel with checkpoints"""

    @property
    def action_size(self) -> int:
        """Numbers of all actions between two frames; 1 as long as they are not known."""
        return 1 if self.statistics is None else self.statistics.action_size

    @property
    def sizes(self) -> SignalSizes | None:
        """Sizes of the signals that are read; None as long as they are not known."""
        it = self.statistics
        if it is None:
            return None
        return SignalSizes(it.actions_per_step, len(it.action_mean), len(it.state_mean), self.actions == "state_difference")


class ActionInput(nn.Module):
    """Recorded actions between frames -> normalised actions between latent steps. It has no weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: ActionStatistics, tubelet_size: int) -> None:
        super().__init__()
        self.statistics, self.tubelet_size = statistics, tubelet_size
        repeats = statistics.actions_per_step * tubelet_size
        # not in the state dict: they are part of the config
        self.register_buffer("mean", torch.tensor(statistics.action_mean * repeats), persistent=False)
        self.register_buffer("std", torch.tensor(statistics.action_std * repeats), persistent=False)

    @property
    def size(self) -> int:
        """Numbers of the action of a latent step."""
        return len(self.mean)

    def between_frames(self, actions: Tensor) -> Tensor:
        """Normalise and group blocks between frames [B, T - 1, k * A] into those between latent steps [B, T/f - 1, f * k * A].

        The action of a latent step is all that was recorded from its last frame to the last frame of the next step.
        """
        f = self.tubelet_size
        own = actions[:, f - 1 :]
        count = own.shape[1] // f
        return self.normalise(own[:, : count * f].reshape(len(actions), count, -1))

    def normalise(self, actions: Tensor) -> Tensor:
        """Actions of latent steps [..., f * k * A]. Raises ValueError for another size."""
        if actions.shape[-1] != self.size:
            raise ValueError(
                f"actions of {actions.shape[-1]} numbers per latent step; this model was trained with {self.size}: "
                f"{self.statistics.actions_per_step * self.tubelet_size} x {len(self.statistics.action_mean)} "
                f"({', '.join(self.statistics.action_names)})"
            )
        return (actions - self.mean) / self.std

    def restore(self, normalised: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return normalised * self.std + self.mean


def condition_arguments(actions: Tensor | None) -> dict[str, Any]:
    """Keyword arguments of a model's methods: those without a condition do not know them."""
    return {} if actions is None else {"actions": actions}
