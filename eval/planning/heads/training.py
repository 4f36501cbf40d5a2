"""Training of behaviour cloning and inverse dynamics.

Both map the latent of now and that of a goal to the next action; goals are later states of the same
episode. Inverse dynamics is told the number of steps that are left as well. A part of the training
episodes is held out, and training ends when the error on it does not fall any more.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data_prep.progress import bar
from eval.planning.heads.data import HeadData, features_of
from eval.planning.results import HeadTraining

WIDTH, UPDATES, BATCH, LEARNING_RATE, WEIGHT_DECAY = 256, 8000, 256, 1e-3, 1e-4  # UPDATES: at most
HELD_OUT = 0.1  # of the episodes
CHECK_EVERY, CHECKED_ON = 100, 4096  # updates; windows that are held out, drawn once
PATIENCE = 20  # checks without a lower error, after which training ends


@dataclass(frozen=True)
class GoalHead:
    """A network that gives the next actions, raw."""

    network: nn.Module
    mean: Tensor  # [F] of features
    std: Tensor
    action_mean: Tensor  # [action_size]
    action_std: Tensor
    longest: int  # steps to a goal in training
    told_steps: bool
    training: HeadTraining

    @torch.no_grad()
    def __call__(self, now: Tensor, goal: Tensor, steps_left: float) -> Tensor:
        """[B, N, D] twice -> [B, action_size]. steps_left: planned steps, for a head that is told them."""
        left = torch.full((len(now),), min(steps_left, self.longest))
        inputs = _inputs(self._features(now), self._features(goal), left / self.longest, self.told_steps)
        found: Tensor = self.network(inputs) * self.action_std + self.action_mean
        return found

    def _features(self, latents: Tensor) -> Tensor:
        return (features_of(latents).cpu() - self.mean) / self.std


class _Draws:
    """Draws windows of some sequences uniformly, and a goal for each, uniformly among the later frames of its sequence."""

    def __init__(self, data: HeadData, of: NDArray[np.bool_], rng: np.random.Generator) -> None:
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


def fit_head(data: HeadData, told_steps: bool, seed: int = 0, what: str = "head") -> GoalHead:
    """Train a head. A goal lies 1 to `longest` steps after now, uniformly, within the episode.

    The weights with the lowest error on held-out episodes are kept. A single episode is its own check. what: name for the
    progress bar.
    """
    held_out = _held_out(data.episode, seed)
    trained_on = _with_actions(data, ~held_out)
    mean, std = data.features.mean(0), data.features.std(0).clamp(min=1e-4)
    action_mean, action_std = data.actions[trained_on].mean(0), data.actions[trained_on].std(0).clamp(min=1e-6)
    longest = int(data.lengths.max() - 1)
    draws = _Draws(data, ~held_out, np.random.default_rng(seed))
    checks = _Draws(data, held_out if held_out.any() else ~held_out, np.random.default_rng(seed + 1)).draw(CHECKED_ON)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(2 * len(mean) + told_steps, WIDTH),
            nn.GELU(),
            nn.Linear(WIDTH, WIDTH),
            nn.GELU(),
            nn.Linear(WIDTH, data.actions.shape[1]),
        )

    def error(at: Tensor, ahead: Tensor) -> Tensor:
        now, goal = ((data.features[rows] - mean) / std for rows in (at, at + ahead))
        given = _inputs(now, goal, ahead.float() / longest, told_steps)
        return F.mse_loss(network(given), (data.actions[at] - action_mean) / action_std)

    lowest, best, best_update, failed = float("inf"), copy.deepcopy(network.state_dict()), 0, 0
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
    with bar(f"train {what}, at most", UPDATES) as progress:
        for update in range(1, UPDATES + 1):
            loss = error(*draws.draw(BATCH))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.step()
            if update % CHECK_EVERY and update != UPDATES:
                continue
            with torch.no_grad():
                found = float(error(*checks))
            if found < lowest:
                lowest, best, best_update, failed = found, copy.deepcopy(network.state_dict()), update, 0
                continue
            failed += 1
            if failed == PATIENCE:
                break
    network.load_state_dict(best)
    windows = int((data.lengths[~held_out] - 1).sum())
    about = HeadTraining(
        windows=windows,
        episodes=len(np.unique(data.episode[~held_out])),
        windows_held_out=data.windows - windows,
        episodes_held_out=len(np.unique(data.episode[held_out])),
        fraction=data.fraction,
        updates=best_update,
        held_out_error=lowest,
    )
    return GoalHead(network.eval(), mean, std, action_mean, action_std, longest, told_steps, about)


def _held_out(episode: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which sequences are of held-out episodes. None where there is one episode alone."""
    names = np.unique(episode)
    count = max(1, round(HELD_OUT * len(names))) if len(names) > 1 else 0
    return np.isin(episode, np.random.default_rng((seed, 1)).permutation(names)[:count])


def _with_actions(data: HeadData, of: NDArray[np.bool_]) -> Tensor:
    """Whether a row has actions and is of the chosen sequences, [R]."""
    chosen = np.repeat(of, data.lengths)
    chosen[np.cumsum(data.lengths) - 1] = False
    return torch.from_numpy(chosen)


def _inputs(now: Tensor, goal: Tensor, left: Tensor, told_steps: bool) -> Tensor:
    return torch.cat([now, goal, *([left[:, None]] if told_steps else [])], -1)
