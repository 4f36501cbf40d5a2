"""Policies of behaviour cloning and inverse dynamics."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.planning.action_model import ActionModel
from eval.planning.episodes import History, Spent
from worldmodel.planning import ActionSpace, GoalHead


class HeadPolicy:
    """Acts by a head on the latent of the newest picture; an action block is executed before the next look.

    steps_to_goal: recorded steps of the environment between start and goal where they are known, else the steps of an
    episode. A head that is told the steps left is told these minus the steps done, and at least one planned step.
    """

    context = 1

    def __init__(self, head: GoalHead, model: ActionModel, goals: Tensor, space: ActionSpace, steps_to_goal: int) -> None:
        self._head, self._model, self._goals, self._space, self._steps = head, model, goals, space, steps_to_goal
        self._actions = torch.zeros(0)

    def act(self, history: History) -> NDArray[np.float64]:
        block = self._space.block
        if history.step % block == 0:
            frames = torch.from_numpy(history.pictures[-1][:, None]).to(self._goals.device)
            with torch.no_grad():
                now = self._model.encode(frames)[:, -1]
            planned = self._head(now, self._goals, max(1.0, (self._steps - history.step) / block))
            self._actions = self._space.split(self._space.clip(planned))
        chosen: NDArray[np.float64] = self._actions[:, history.step % block].double().numpy()
        return chosen

    def spent(self) -> Spent:
        return Spent()
