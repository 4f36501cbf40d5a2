"""Behaviour cloning and inverse dynamics: small networks on the frozen encoder, trained on the train split.

Both map the latent of now and that of a goal to the next action; goals are later states of the same
episode. Inverse dynamics is told the number of steps that are left as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from eval.planning.action_model import ActionModel
from eval.planning.episodes import History, Spent
from eval.planning.offline.recorded import Recorded
from worldmodel.planning import ActionSpace

WIDTH, UPDATES, BATCH, LEARNING_RATE, WEIGHT_DECAY = 256, 4000, 256, 1e-3, 1e-4
MAX_FEATURES = 4096  # of a latent step; larger ones are averaged over tokens


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

    @torch.no_grad()
    def __call__(self, now: Tensor, goal: Tensor, steps_left: float) -> Tensor:
        """[B, N, D] twice -> [B, action_size]"""
        left = torch.full((len(now),), min(steps_left, self.longest))
        inputs = _inputs(self._features(now), self._features(goal), left / self.longest, self.told_steps)
        found: Tensor = self.network(inputs) * self.action_std + self.action_mean
        return found

    def _features(self, latents: Tensor) -> Tensor:
        return (features(latents).cpu() - self.mean) / self.std


def features(latents: Tensor) -> Tensor:
    """[..., N, D] -> [..., F], float32."""
    flat = latents.float().flatten(-2)
    return flat if flat.shape[-1] <= MAX_FEATURES else latents.float().mean(-2)


def fit_head(episodes: Sequence[Recorded], told_steps: bool, seed: int = 0) -> GoalHead:
    """Train a head. A goal lies 1 to `longest` steps after now, uniformly, within the episode."""
    rows = torch.cat([features(episode.latents) for episode in episodes])
    mean, std = rows.mean(0), rows.std(0).clamp(min=1e-4)
    rows = (rows - mean) / std
    actions = torch.cat([torch.cat([episode.actions, torch.zeros_like(episode.actions[:1])]) for episode in episodes])
    lengths = np.array([len(episode.latents) for episode in episodes])
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    taken = torch.cat([episode.actions for episode in episodes])
    action_mean, action_std = taken.mean(0), taken.std(0).clamp(min=1e-6)
    longest = int(lengths.max() - 1)
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = 2 * rows.shape[1] + told_steps
        network = nn.Sequential(
            nn.Linear(size, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, actions.shape[1])
        )
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
    for _ in range(UPDATES):
        which = rng.choice(len(lengths), BATCH, p=(lengths - 1) / (lengths - 1).sum())
        now = (rng.random(BATCH) * (lengths[which] - 1)).astype(int)
        ahead = 1 + (rng.random(BATCH) * (lengths[which] - 1 - now)).astype(int)
        at = torch.from_numpy(first[which] + now)
        left = torch.from_numpy(ahead / longest).float()
        given = _inputs(rows[at], rows[at + torch.from_numpy(ahead)], left, told_steps)
        loss = F.mse_loss(network(given), (actions[at] - action_mean) / action_std)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return GoalHead(network.eval(), mean, std, action_mean, action_std, longest, told_steps)


def _inputs(now: Tensor, goal: Tensor, left: Tensor, told_steps: bool) -> Tensor:
    return torch.cat([now, goal, *([left[:, None]] if told_steps else [])], -1)


class HeadPolicy:
    """Acts by a head on the latent of the newest picture; an action block is executed before the next look."""

    context = 1

    def __init__(self, head: GoalHead, model: ActionModel, goals: Tensor, space: ActionSpace, budget: int) -> None:
        self._head, self._model, self._goals, self._space, self._budget = head, model, goals, space, budget
        self._actions = torch.zeros(0)

    def act(self, history: History) -> NDArray[np.float64]:
        block = self._space.block
        if history.step % block == 0:
            frames = torch.from_numpy(history.pictures[-1][:, None]).to(self._goals.device)
            with torch.no_grad():
                now = self._model.encode(frames)[:, -1]
            planned = self._head(now, self._goals, (self._budget - history.step) / block)
            self._actions = self._space.split(self._space.clip(planned))
        chosen: NDArray[np.float64] = self._actions[:, history.step % block].double().numpy()
        return chosen

    def spent(self) -> Spent:
        return Spent()
