"""Policies of behaviour cloning and inverse dynamics."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from eval.planning.action_model import ActionModel
from eval.planning.episodes import History, Spent
from eval.planning.heads.training import TrainedHead
from eval.planning.planning_policy import last_pictures
from worldmodel.planning import ActionSpace
from worldmodel.planning.goal_head import features_of, goal_head_inputs


class HeadPolicy:
    """Acts by a head on the latents of the last pictures; an action block is executed before the next look.

    The pictures are a planned step apart, as many as the head was trained with. At the start of an episode, the first one is
    repeated. goal_steps: recorded steps of the environment between start and goal, where they are known: the head is told
    these minus the steps done. Else it is told the number that was chosen when it was trained, or what is left of the budget
    if that is less. It is always told at least one planned step.
    """

    def __init__(
        self,
        trained: TrainedHead,
        model: ActionModel,
        goals: Tensor,
        space: ActionSpace,
        goal_steps: int | None,
        budget: int,
    ) -> None:
        self._trained, self._model, self._space = trained, model, space
        self._goals = features_of(goals)  # [B, F]
        self._goal_steps, self._budget = goal_steps, budget
        self._actions = torch.zeros(0)
        self.context = 1 + (trained.context - 1) * space.block

    def act(self, history: History) -> NDArray[np.float64]:
        block = self._space.block
        if history.step % block == 0:
            now, goal = goal_head_inputs(self._features(history), self._goals)
            with torch.no_grad():
                planned = self._trained.head(now[:, None], goal[:, None], self._steps_left(history.step))
            self._actions = self._space.split(self._space.clip(planned))
        chosen: NDArray[np.float64] = self._actions[:, history.step % block].double().numpy()
        return chosen

    def spent(self) -> Spent:
        return Spent()

    @torch.no_grad()
    def _features(self, history: History) -> Tensor:
        """Of the last pictures, each encoded by itself: [B, C, F]."""
        pictures = last_pictures(history, self._space.block, self._trained.context)
        pictures = [pictures[0]] * (self._trained.context - len(pictures)) + pictures
        frames = torch.from_numpy(np.stack(pictures, 1)).to(self._goals.device)
        latents = self._model.encode(rearrange(frames, "b c h w k -> (b c) 1 h w k"))[:, -1]
        return features_of(latents).unflatten(0, frames.shape[:2])

    def _steps_left(self, step: int) -> float:
        """Planned steps that the head is told."""
        if self._goal_steps is not None:
            return max(1.0, (self._goal_steps - step) / self._space.block)
        told = self._trained.told_steps or 1  # behaviour cloning is told none
        return max(1.0, min(told, (self._budget - step) / self._space.block))
