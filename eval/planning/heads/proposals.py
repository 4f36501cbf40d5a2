"""Plans of inverse dynamics, from which a search begins: `eval plan --proposals inverse`.

A search samples around one mean, and rarely finds a sequence with many right steps by chance. Inverse dynamics names such
sequences, but nothing corrects it where it is wrong. So its plans compete with the sampled sequences in the first iteration of
every search, and later iterations sample around the best of both.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eval.planning.action_model import ActionModel
from eval.planning.episodes import History
from eval.planning.heads.training import TrainedHead
from eval.planning.planning_policy import observe
from worldmodel.planning import ActionSpace, inverse_plan

SEQUENCES = 8  # proposals per search, at most


class InverseProposals:
    """Plans of inverse dynamics that is told different numbers of steps to the goal, as a model imagines them.

    trained: a head that sees one frame. goals: latents [B, N, D].
    """

    def __init__(self, trained: TrainedHead, model: ActionModel, goals: Tensor, space: ActionSpace, context_steps: int) -> None:
        self._trained, self._model, self._goals, self._space = trained, model, goals, space
        self._context_steps = context_steps
        self.context = 1 + (context_steps - 1) * space.block

    def propose(self, history: History, horizon: int) -> Tensor:
        """Sequences of `horizon` planned steps within the bounds, [B, P, H, A].

        The steps that are told lie between 1 and the most of the training.
        """
        context = observe(self._model, history, self._context_steps, self._goals.device)
        longest = self._trained.head.longest
        told = np.unique(np.linspace(1, longest, min(SEQUENCES, longest)).round()).tolist()
        head, imagine = self._trained.head, self._model.imagine
        plans = [inverse_plan(head, imagine, context, self._goals, self._space, horizon, steps) for steps in told]
        return torch.stack([plan.actions for plan in plans], dim=1)
