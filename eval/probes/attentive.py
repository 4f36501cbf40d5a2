"""Attentive probes: a learned query looks over places and moments of frozen latents, and a small head says what it found.

As in the evaluation of V-JEPA (Bardes et al. 2024, section 4), at a width that fits small models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from eval.probes.linear import Probe, Scenes, Standard, Values

RATES = (3e-4, 1e-3, 3e-3)
UPDATES = 300
BATCH_ROWS = 256
WIDTH, HEADS = 64, 4
WEIGHT_DECAY = 0.01
HELD_OUT = 5  # one scene in so many chooses the learning rate
READ_ROWS = 4096  # at once


class AttentivePool(nn.Module):
    """One learned query attends to all tokens: [R, L, D] -> [R, outputs]. Tokens know their place by a learned code."""

    def __init__(self, tokens: int, features: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, WIDTH)
        self.code = nn.Parameter(0.02 * torch.randn(tokens, WIDTH))
        self.query = nn.Parameter(torch.randn(WIDTH) / WIDTH**0.5)
        self.keys = nn.Linear(WIDTH, 2 * WIDTH)
        self.mlp = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        keys, values = rearrange(self.keys(self.embed(tokens) + self.code), "r l (two h w) -> two r h l w", two=2, h=HEADS)
        query = rearrange(self.query, "(h w) -> h 1 w", h=HEADS).expand(len(tokens), -1, -1, -1)
        found = rearrange(F.scaled_dot_product_attention(query, keys, values), "r h 1 w -> r (h w)")
        return self.head(found + self.mlp(found))


class MeanPool(nn.Module):
    """The linear counterpart: the mean over tokens, weighted sums of it: [R, L, D] -> [R, outputs]."""

    def __init__(self, tokens: int, features: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(features, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(tokens.mean(1))


Head = Callable[[int, int, int], nn.Module]


@dataclass(frozen=True)
class TrainedProbe:
    """A head and what it was trained to say: numbers [R, C], or classes [R]."""

    head: nn.Module
    standard: Standard  # of features, the same for all tokens
    scale: Standard | None  # of numbers
    classes: NDArray[np.int64] | None
    rate: float  # chosen
    losses: dict[float, float]  # on held-out scenes, by learning rate

    @torch.no_grad()
    def __call__(self, features: Values) -> Values:
        parts = [self.head(part).cpu().numpy() for part in _tokens(features, self.standard, self._device).split(READ_ROWS)]
        out = np.concatenate(parts)
        if self.classes is not None:
            return self.classes[out.argmax(1)]
        assert self.scale is not None
        return out * np.where(np.isfinite(self.scale.std), self.scale.std, 0) + self.scale.mean

    @property
    def _device(self) -> torch.device:
        return next(self.head.parameters()).device


def fit_numbers(features: Values, targets: Values, scene: Scenes, device: torch.device) -> Probe:
    """Of latents [R, M, N, D] (or [R, L, D]) and numbers [R, C]; the learning rate is chosen on a fifth of the scenes."""
    held = np.unique(scene, return_inverse=True)[1] % HELD_OUT == 0
    return sweep(AttentivePool, features, targets, None, ~held, held, device)


def fit_classes(features: Values, labels: Values, scene: Scenes, device: torch.device) -> Probe:
    """Of latents and classes [R], every class weighing the same however frequent it is."""
    held = np.unique(scene, return_inverse=True)[1] % HELD_OUT == 0
    classes, label = np.unique(labels.astype(np.int64), return_inverse=True)
    weights = 1 / np.bincount(label) / len(classes) * len(label)
    return sweep(AttentivePool, features, label, classes, ~held, held, device, weights)


def sweep(
    head: Head,
    features: Values,
    targets: Values | NDArray[np.int64],
    classes: NDArray[np.int64] | None,
    fitted: NDArray[np.bool_],
    choosing: NDArray[np.bool_],
    device: torch.device,
    class_weights: Values | None = None,
    rates: Sequence[float] = RATES,
) -> TrainedProbe:
    """Train a head on the rows `fitted` at each learning rate; the one with the smallest loss on `choosing` is kept.

    `targets`: numbers [R, C], or with `classes` the place in them of each row [R].
    """
    standard = Standard.of(features[fitted].reshape(-1, features.shape[-1]))
    tokens = _tokens(features, standard, device)
    scale = Standard.of(targets[fitted].astype(np.float64)) if classes is None else None
    wanted = torch.as_tensor(targets if scale is None else scale(targets.astype(np.float64)).astype(np.float32), device=device)
    weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32, device=device)

    def loss(said: Tensor, rows: Tensor) -> Tensor:
        if classes is None:
            return F.mse_loss(said, wanted[rows])
        return F.cross_entropy(said, wanted[rows], weights)

    train_rows = torch.as_tensor(np.flatnonzero(fitted), device=device)
    judge_rows = torch.as_tensor(np.flatnonzero(choosing), device=device)
    outputs = len(classes) if classes is not None else targets.shape[1]
    trained: dict[float, nn.Module] = {}
    losses = {}
    for rate in rates:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = head(tokens.shape[1], tokens.shape[2], outputs).to(device)
            _train(net, tokens, train_rows, loss, rate)
        with torch.no_grad():
            losses[rate] = float(loss(torch.cat([net(tokens[part]) for part in judge_rows.split(READ_ROWS)]), judge_rows))
        trained[rate] = net
    best = min(losses, key=lambda rate: losses[rate] if np.isfinite(losses[rate]) else np.inf)
    return TrainedProbe(trained[best].eval(), standard, scale, classes, best, losses)


def _train(net: nn.Module, tokens: Tensor, rows: Tensor, loss: Callable[[Tensor, Tensor], Tensor], rate: float) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
    for _ in range(UPDATES):
        batch = rows[torch.randint(len(rows), (min(BATCH_ROWS, len(rows)),)).to(rows.device)]
        optimizer.zero_grad()
        loss(net(tokens[batch]), batch).backward()
        optimizer.step()
        schedule.step()


def _tokens(features: Values, standard: Standard, device: torch.device) -> Tensor:
    """[R, ..., D] -> [R, L, D] of mean 0 and standard deviation 1."""
    flat = features.reshape(len(features), -1, features.shape[-1])
    return torch.as_tensor(standard(flat).astype(np.float32), device=device)
