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
from worldmodel.planning.goal_head import GoalHead, features_of, goal_head_inputs
from worldmodel.planning.plan import PlanningError

_HELD_OUT = 0.1  # of the episodes
_CHECKED_ON = 4096  # windows that are held out, drawn once
_CHECKED_AT_ONCE = 512
_TOLD_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the steps to goals: candidates for goals whose steps are not known


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
    context: int  # frames that it sees, a planned step apart; see `goal_head_inputs`
    told_steps: int | None  # that it is best told where the steps to a goal are not known; None: it is told none
    steps: int  # training steps until the lowest error
    held_out_error: float  # mean squared, in units of the variance of the actions; 1: no better than the mean action
    windows: int
    episodes: int
    windows_held_out: int
    episodes_held_out: int


class Windows:
    """Windows of some sequences: the frames until now, and a goal, uniformly among the later steps of the sequence."""

    def __init__(self, data: Trajectories, of: NDArray[np.bool_], context: int) -> None:
        ends = np.cumsum(data.lengths)
        self._data, self._rows = data, data.has_actions(of).nonzero()[:, 0].numpy()
        self._first, self._last = (np.repeat(rows, data.lengths) for rows in (ends - data.lengths, ends - 1))  # [R]
        self._before = np.arange(1 - context, 1)

    def __len__(self) -> int:
        return len(self._rows)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of `count` windows, and planned steps to their goals."""
        at = self._rows[rng.integers(len(self._rows), size=count)]
        return at, 1 + (rng.random(count) * (self._last[at] - at)).astype(np.int64)

    def error(self, head: GoalHead, at: NDArray[np.int64], ahead: NDArray[np.int64], told: NDArray[np.int64]) -> Tensor:
        """Mean squared error of normalised actions of windows [B], where the head is told steps [B]."""
        frames = torch.from_numpy(np.maximum(at[:, None] + self._before, self._first[at][:, None]))  # [B, C]
        now, goal = goal_head_inputs(self._data.features[frames], self._data.features[torch.from_numpy(at + ahead)])
        found = head.normalised(now, goal, torch.from_numpy(told).to(now))
        return F.mse_loss(found, (self._data.actions[torch.from_numpy(at)] - head.action_mean) / head.action_std)

    @torch.no_grad()
    def mean_error(self, head: GoalHead, *columns: NDArray[np.int64]) -> float:
        """The same of many windows, whose features are not all in memory at once."""
        count = len(columns[0])
        parts = [[column[at : at + _CHECKED_AT_ONCE] for column in columns] for at in range(0, count, _CHECKED_AT_ONCE)]
        return sum(float(self.error(head, *part)) * len(part[0]) for part in parts) / count


def fit_goal_head(
    data: Trajectories,
    config: GoalHeadConfig | None = None,
    seed: int = 0,
    on_step: Callable[[], None] | None = None,
    context: int = 1,
) -> GoalHeadFit:
    """Train a head on the device of the data. A goal lies 1 to `longest` steps after now, uniformly, within the episode.

    The weights with the lowest error on held-out episodes are kept. A single episode is its own check. on_step: called after
    every training step. context: frames that the head sees; before the first one, the first one is repeated. torch's global
    generator is not changed.
    """
    config = config or GoalHeadConfig()
    held_out = _held_out(data.episode, seed)
    windows = Windows(data, ~held_out, context)
    checked = Windows(data, held_out if held_out.any() else ~held_out, context)
    checks, rng = checked.draw(_CHECKED_ON, np.random.default_rng(seed + 1)), np.random.default_rng(seed)
    head = _new_head(data, data.has_actions(~held_out), config, seed, context)
    lowest, best, best_step, failed = float("inf"), copy.deepcopy(head.state_dict()), 0, 0
    optimizer = torch.optim.AdamW(head.parameters(), config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.max_steps)
    for step in range(1, config.max_steps + 1):
        at, ahead = windows.draw(config.batch_size, rng)
        optimizer.zero_grad()
        windows.error(head, at, ahead, ahead).backward()
        optimizer.step()
        schedule.step()
        if on_step is not None:
            on_step()
        if step % config.check_every and step != config.max_steps:
            continue
        found = checked.mean_error(head, *checks, checks[1])
        if found < lowest:
            lowest, best, best_step, failed = found, copy.deepcopy(head.state_dict()), step, 0
            continue
        failed += 1
        if failed == config.patience:
            break
    head.load_state_dict(best)
    head.eval().requires_grad_(False)
    return GoalHeadFit(
        head,
        context,
        told_steps=_told_without_knowing(checked, head, checks) if config.told_steps else None,
        steps=best_step,
        held_out_error=lowest,
        windows=len(windows),
        episodes=len(np.unique(data.episode[~held_out])),
        windows_held_out=data.windows - len(windows),
        episodes_held_out=len(np.unique(data.episode[held_out])),
    )


def _told_without_knowing(windows: Windows, head: GoalHead, checks: tuple[NDArray[np.int64], NDArray[np.int64]]) -> int:
    """The number of steps that a head is best told for goals at unknown distances: of the lowest error on these windows."""
    at, ahead = checks
    candidates = np.unique(np.rint(np.quantile(ahead, _TOLD_QUANTILES)).astype(np.int64)).tolist()
    return min(candidates, key=lambda steps: windows.mean_error(head, at, ahead, np.full(len(at), steps)))


def _new_head(data: Trajectories, trained_on: Tensor, config: GoalHeadConfig, seed: int, context: int) -> GoalHead:
    actions = data.actions[trained_on]
    mean, std = (some.repeat(context) for some in (data.features.mean(0), data.features.std(0).clamp(min=1e-4)))
    action_mean, action_std = actions.mean(0), actions.std(0).clamp(min=1e-6)
    longest = int(data.lengths.max() - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = GoalHead(mean, std, action_mean, action_std, longest, config.told_steps, config.width)
    return head.to(data.features.device)


def _held_out(episode: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which sequences are of held-out episodes. None where there is one episode alone."""
    names = np.unique(episode)
    count = max(1, round(_HELD_OUT * len(names))) if len(names) > 1 else 0
    return np.isin(episode, np.random.default_rng((seed, 1)).permutation(names)[:count])
