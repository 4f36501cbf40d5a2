"""Interface of a model that takes actions, as policies and offline measures use it.

`worldmodel.runs.acting.ActingModel` implements it. Actions are raw (in units of the environment).
A planned step is one frame: models with tubelets of several frames are not supported.
B environments, T frames, S candidate sequences, H planned steps, N tokens, D features.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from worldmodel.planning import Cost
from worldmodel.signals import SignalStatistics


class ActionModel(Protocol):
    """A trained or untrained model with actions."""

    @property
    def action_size(self) -> int:
        """Numbers per planned step: all actions between two frames that the model sees."""

    @property
    def actions_per_step(self) -> int:
        """Actions of the environment per planned step."""

    @property
    def max_context(self) -> int:
        """Frames that `observe` uses at most."""

    @property
    def has_inverse(self) -> bool:
        """Whether the model has an inverse dynamics head."""

    @property
    def has_steps(self) -> bool:
        """Whether the model has a head that predicts the number of steps to a goal."""

    @property
    def statistics(self) -> SignalStatistics:
        """Of the actions and states of the train split."""

    def observe(self, frames: Tensor, actions: Tensor | None = None) -> Any:
        """Encode a context: frames uint8 [B, T, H, W, 3], actions between them [B, T - 1, action_size]."""

    def encode(self, frames: Tensor) -> Tensor:
        """uint8 [B, T, H, W, 3] -> latents [B, T, N, D], one per frame"""

    def imagine(self, context: Any, actions: Tensor) -> Tensor:
        """Latents after each planned step: actions [B, S, H, action_size] -> [B, S, H, N, D]."""

    def distance(self, latents: Tensor, goal: Tensor, kind: Any = "auto") -> Tensor:
        """Distance that plans minimise: [..., N, D], [..., N, D] -> [...]."""

    def goal_cost(self, context: Any, goal: Tensor, steps: Any = "all", kind: Any = "auto") -> Cost:
        """Cost of action sequences for goals [B, N, D]."""

    def inverse(self, now: Tensor, later: Tensor) -> Tensor:
        """The action between two latents: [B, N, D] twice -> [B, action_size]."""

    def untrained(self, seed: int) -> ActionModel:
        """The same architecture with freshly initialised weights."""


class ShuffledActions:
    """A model that is given the actions of other candidates, so that no candidate is chosen by what its own actions lead to.

    A control: a planner with it can only succeed by luck. A candidate that is evaluated alone, such as the mean after the last
    iteration, has an infinite cost, because there is no other one.
    """

    def __init__(self, model: ActionModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def goal_cost(self, context: Any, goal: Tensor, steps: Any = "all", kind: Any = "auto") -> Cost:
        cost = self._model.goal_cost(context, goal, steps=steps, kind=kind)

        def shuffled(actions: Tensor) -> Tensor:
            """Each candidate gets the cost of the one before it, and the first that of the last: [B, S, H, A] -> [B, S]."""
            if actions.shape[1] == 1:
                return torch.full(actions.shape[:2], torch.inf, device=actions.device)
            return cost(actions.roll(1, 1))

        return shuffled
