"""Training of a GoalHead on trajectories: a goal is a later step of the same episode.

A part of the episodes is held out, and training ends when the error on it does not fall any more.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor

from worldmodel.config import Config
from worldmodel.planning.goal_head import GoalHead, features_of
from worldmodel.planning.plan import PlanningError

_HELD_OUT = 0.1  # of the episodes
_CHECKED_ON = 4096  # windows that are held out, drawn once


class GoalHeadConfig(Config):
    """Network and training of a GoalHead."""

    told_steps: bool = True
    """the network is told the number of steps to the goal: inverse dynamics; false: behaviour cloning"""
    width: PositiveInt = 256
    """width of the two hidden layers"""
    max_steps: PositiveInt = 8000
    """training steps, at most"""
    batch_size: PositiveInt = 256
    """windows per training step"""
    lr: float = Field(1e-3, gt=0)
    """learning rate of AdamW at the start; it falls to 0 as a cosine"""
    weight_decay: float = Field(1e-4, ge=0)
    """weight decay of AdamW"""
    check_every: PositiveInt = 100
    """training steps between two measurements of the error on held-out episodes"""
    patience: PositiveInt = 20
    """measurements without a lower error, after which training ends"""


@dataclass(frozen=True)
class Trajectories:
    """K sequences of latent steps that are a planned step apart, one after another; R latent steps in all.

    A window is a latent step with the actions of the planned step after it: all latent steps but the last of a sequence.
    """

    features: Tensor  # [R, F], float32
    actions: Tensor  # [R, A], in units of the environment; those in the last row of a sequence are not used
    lengths: NDArray[np.int64]  # [K] latent steps
    episode: NDArray[np.int64]  # [K] number of the episode that a sequence is from

    @classmethod
    def of(cls, latents: Sequence[Tensor], actions: Sequence[Tensor]) -> Trajectories:
        """Of one sequence per episode: latents [T, N, D], and the actions [T - 1, A] between them. Raises PlanningError."""
        if not latents or len(latents) != len(actions):
            raise PlanningError(f"{len(latents)} sequences of latents, {len(actions)} of actions; expected as many, 1 or more")
        for number, (some, between) in enumerate(zip(latents, actions, strict=True)):
            if some.ndim != 3 or between.ndim != 2 or len(some) < 2 or len(between) != len(some) - 1:
                raise PlanningError(
                    f"episode {number}: latents {list(some.shape)} and actions {list(between.shape)}; expected [T, N, D] and "
                    "[T - 1, A], with 2 or more latent steps"
                )
        padded = [F.pad(between.float(), (0, 0, 0, 1)) for between in actions]
        lengths = np.array([len(some) for some in latents])
        return cls(torch.cat([features_of(some) for some in latents]), torch.cat(padded), lengths, np.arange(len(lengths)))

    @property
    def windows(self) -> int:
        return int((self.lengths - 1).sum())

    def has_actions(self, chosen: NDArray[np.bool_]) -> Tensor:
        """Whether a row has actions and is of the chosen sequences [K]: [R]."""
        found = np.repeat(chosen, self.lengths)
        found[np.cumsum(self.lengths) - 1] = False
        return torch.from_numpy(found)


@dataclass(frozen=True)
class GoalHeadFit:
    """A trained head, and what it was trained on."""

    head: GoalHead
    steps: int  # training steps until the lowest error
    held_out_error: float  # mean squared, in units of the variance of the actions; 1: no better than the mean action
    windows: int
    episodes: int
    windows_held_out: int
    episodes_held_out: int


class _Draws:
    """Draws windows of some sequences uniformly, and a goal for each, uniformly among the later steps of its sequence."""

    def __init__(self, data: Trajectories, of: NDArray[np.bool_], rng: np.random.Generator) -> None:
        self._first = (np.cumsum(data.lengths) - data.lengths)[of]
        self._lengths = data.lengths[of]
        self._stop = np.cumsum(self._lengths - 1)  # windows up to each sequence
        self._rng = rng

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Rows of `count` windows, and steps to their goals."""
        window = self._rng.integers(self._stop[-1], size=count)
        which = np.searchsorted(self._stop, window, side="right")
        now = window - (self._stop[which] - (self._lengths[which] - 1))
        ahead = 1 + (self._rng.random(count) * (self._lengths[which] - 1 - now)).astype(np.int64)
        return torch.from_numpy(self._first[which] + now), torch.from_numpy(ahead)


def fit_goal_head(
    data: Trajectories, config: GoalHeadConfig | None = None, seed: int = 0, on_step: Callable[[], None] | None = None
) -> GoalHeadFit:
    """Train a head on the device of the data. A goal lies 1 to `longest` steps after now, uniformly, within the episode.

    The weights with the lowest error on held-out episodes are kept. A single episode is its own check. on_step: called after
    every training step. torch's global generator is not changed.
    """
    config = config or GoalHeadConfig()
    held_out = _held_out(data.episode, seed)
    head = _new_head(data, data.has_actions(~held_out), config, seed)
    draws = _Draws(data, ~held_out, np.random.default_rng(seed))
    checks = _Draws(data, held_out if held_out.any() else ~held_out, np.random.default_rng(seed + 1)).draw(_CHECKED_ON)
    lowest, best, best_step, failed = float("inf"), copy.deepcopy(head.state_dict()), 0, 0
    optimizer = torch.optim.AdamW(head.parameters(), config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.max_steps)
    for step in range(1, config.max_steps + 1):
        loss = _error(head, data, *draws.draw(config.batch_size))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_step is not None:
            on_step()
        if step % config.check_every and step != config.max_steps:
            continue
        with torch.no_grad():
            found = float(_error(head, data, *checks))
        if found < lowest:
            lowest, best, best_step, failed = found, copy.deepcopy(head.state_dict()), step, 0
            continue
        failed += 1
        if failed == config.patience:
            break
    head.load_state_dict(best)
    windows = int((data.lengths[~held_out] - 1).sum())
    return GoalHeadFit(
        head.eval().requires_grad_(False),
        steps=best_step,
        held_out_error=lowest,
        windows=windows,
        episodes=len(np.unique(data.episode[~held_out])),
        windows_held_out=data.windows - windows,
        episodes_held_out=len(np.unique(data.episode[held_out])),
    )


def _new_head(data: Trajectories, trained_on: Tensor, config: GoalHeadConfig, seed: int) -> GoalHead:
    actions = data.actions[trained_on]
    mean, std = data.features.mean(0), data.features.std(0).clamp(min=1e-4)
    action_mean, action_std = actions.mean(0), actions.std(0).clamp(min=1e-6)
    longest = int(data.lengths.max() - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = GoalHead(mean, std, action_mean, action_std, longest, config.told_steps, config.width)
    return head.to(data.features.device)


def _error(head: GoalHead, data: Trajectories, at: Tensor, ahead: Tensor) -> Tensor:
    """Mean squared error of normalised actions: rows [B] of windows, and steps [B] to their goals."""
    found = head.normalised(data.features[at], data.features[at + ahead], ahead.to(data.features))
    return F.mse_loss(found, (data.actions[at] - head.action_mean) / head.action_std)


def _held_out(episode: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which sequences are of held-out episodes. None where there is one episode alone."""
    names = np.unique(episode)
    count = max(1, round(_HELD_OUT * len(names))) if len(names) > 1 else 0
    return np.isin(episode, np.random.default_rng((seed, 1)).permutation(names)[:count])
