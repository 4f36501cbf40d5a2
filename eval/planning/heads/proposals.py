"""Sequences that compete with the sampled ones in the first iteration of every search: `eval plan --proposals`.

A search samples around one mean, and rarely finds a sequence with many right steps by chance. Inverse dynamics names such
sequences, but nothing corrects it where it is wrong. Recorded episodes have such sequences too, but for other starts and goals.
Later iterations sample around the best of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.errors import EvalError
from eval.planning.action_model import ActionModel
from eval.planning.episodes import History
from eval.planning.heads.training import TrainedHead
from eval.planning.planning_policy import observe
from worldmodel.manifest import Manifest
from worldmodel.planning import ActionSpace, inverse_plan
from worldmodel.signals import SignalError, read_signals

SEQUENCES = 8  # plans of inverse dynamics per search, at most
RECORDED = 200  # recorded sequences per search, unless another number is given
_RECORDED_APART = 7_368_787  # seeds between the draws of recorded sequences and those of a search


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


class RecordedProposals:
    """Parts of recorded episodes, drawn at random for every search; one random generator per environment.

    actions: of each episode [T, A], in units of the environment. count: P, the sequences per search.
    """

    context = 0

    def __init__(
        self, actions: Sequence[NDArray[np.float32]], space: ActionSpace, seeds: Sequence[int], count: int = RECORDED
    ) -> None:
        self._actions, self._space, self._count = actions, space, count
        self._rngs = [np.random.default_rng(seed + _RECORDED_APART) for seed in seeds]

    def propose(self, history: History, horizon: int) -> Tensor:
        """Sequences of `horizon` planned steps within the bounds, [B, P, H, A]. Raises EvalError where episodes are shorter."""
        length = horizon * self._space.block
        places = np.array([len(episode) - length + 1 for episode in self._actions]).clip(min=0).cumsum()
        if not places[-1]:
            raise EvalError(f"--proposals recorded: no episode of train has the {length} actions of a plan; plan fewer steps")
        found = []
        for rng in self._rngs:
            drawn = rng.integers(places[-1], size=self._count)
            episodes = np.searchsorted(places, drawn, side="right")
            first = drawn - np.where(episodes > 0, places[episodes - 1], 0)
            parts = [self._actions[row][begin : begin + length] for row, begin in zip(episodes, first, strict=True)]
            found.append(np.stack(parts).reshape(self._count, horizon, -1))
        return self._space.clip(torch.from_numpy(np.stack(found)))


def recorded_actions(manifest: Manifest, split: str = "train") -> list[NDArray[np.float32]]:
    """The actions of each episode of a split, [T, A].

    Raises EvalError where there is no episode, for episodes without signals, and for actions of different sizes.
    """
    found: list[NDArray[np.float32]] = []
    for row in manifest.rows(split):
        clip = manifest.clip(row)
        if clip.signals is None:
            raise EvalError(f"{manifest.path}: {clip.path} has no signals; record episodes with `data_prep collect`")
        try:
            actions = read_signals(clip.signals).actions
        except SignalError as error:
            raise EvalError(str(error)) from None
        known = actions[np.isfinite(actions).all(1).cumprod().astype(bool)]  # until the first one that is missing
        if found and known.shape[1] != found[0].shape[1]:
            raise EvalError(f"{clip.path}: {known.shape[1]} numbers per action; other episodes have {found[0].shape[1]}")
        found.append(known.astype(np.float32))
    if not found:
        raise EvalError(f"--proposals recorded: {manifest.path} has no episode in split {split!r}")
    return found
