"""Attentive probes: a learned query looks over places and moments of frozen latents, and a small head says what it found.

As in the evaluation of V-JEPA (Bardes et al. 2024, section 4), at a width that fits small models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from eval.probes.linear import Probe, Scenes, Standard, Values

RATES = (1e-3, 3e-3, 1e-2)
UPDATES = 300
LOOK_EVERY = 50  # updates: what few films teach by heart is left behind
BATCH_ROWS = 256
WIDTH, HEADS = 64, 4
WEIGHT_DECAY = 0.01
HELD_OUT = 5  # one scene in so many chooses the learning rate and how long
READ_ROWS = 4096  # at once


class AttentivePool(nn.Module):
    """One learned query attends to all tokens: [R, L, D] -> [R, outputs]. Tokens know their place by a learned code.

    Only one query asks, so what it looks for is carried back to the features, and what it finds forward from their
    weighted sum: the same numbers as with a key and a value for each token, which are never formed.
    """

    def __init__(self, tokens: int, features: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, WIDTH)
        self.code = nn.Parameter(torch.randn(tokens, WIDTH))  # as large as what it is added to
        self.query = nn.Parameter(torch.randn(WIDTH) / WIDTH**0.5)
        self.keys = nn.Linear(WIDTH, WIDTH, bias=False)  # a bias would be the same for all tokens
        self.values = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        found = self.attend(tokens)
        return self.head(found + self.mlp(found))

    def attend(self, tokens: Tensor) -> Tensor:
        """[R, L, D] -> [R, WIDTH]"""
        code = self.code + self.embed.bias
        asked = einsum(self.query.view(HEADS, -1), self.keys.weight.view(HEADS, -1, WIDTH), "h w, h w m -> h m")
        logits = tokens @ (asked @ self.embed.weight).T + code @ asked.T  # [R, L, h]
        share = (logits * (WIDTH // HEADS) ** -0.5).softmax(1)
        seen = einsum(share, tokens, "r l h, r l d -> r h d") @ self.embed.weight.T + einsum(share, code, "r l h, l m -> r h m")
        found = einsum(seen, self.values.weight.view(HEADS, -1, WIDTH), "r h m, h w m -> r h w")
        return rearrange(found, "r h w -> r (h w)") + self.values.bias


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
    updates: int  # chosen
    losses: dict[float, float]  # the smallest on held-out scenes, by learning rate

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
    """Of latents [R, M, N, D] (or [R, L, D]) and numbers [R, C]; a fifth of the scenes chooses rate and length."""
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
    """Train a head on the rows `fitted` at each learning rate; of all it was on the way, the one with the smallest loss on
    the rows `choosing` is kept.

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

    @torch.no_grad()
    def judged(net: nn.Module) -> float:
        return float(loss(torch.cat([net(tokens[part]) for part in judge_rows.split(READ_ROWS)]), judge_rows))

    best: tuple[float, float, int, nn.Module] | None = None
    losses = {}
    for rate in rates:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = head(tokens.shape[1], tokens.shape[2], outputs).to(device)
            losses[rate] = np.inf
            for updates in _train(net, tokens, train_rows, loss, rate):
                said = judged(net)
                said = said if np.isfinite(said) else np.inf
                losses[rate] = min(losses[rate], said)
                if best is None or said < best[0]:
                    best = said, rate, updates, deepcopy(net)
    assert best is not None
    return TrainedProbe(best[3].eval(), standard, scale, classes, best[1], best[2], losses)


def _train(
    net: nn.Module, tokens: Tensor, rows: Tensor, loss: Callable[[Tensor, Tensor], Tensor], rate: float
) -> Iterator[int]:
    """Trains in place; says how many updates were made each time that it is worth looking."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
    for update in range(1, UPDATES + 1):
        batch = rows[torch.randint(len(rows), (min(BATCH_ROWS, len(rows)),)).to(rows.device)]
        optimizer.zero_grad()
        loss(net(tokens[batch]), batch).backward()
        optimizer.step()
        schedule.step()
        if update % LOOK_EVERY == 0 or update == UPDATES:
            yield update


def _tokens(features: Values, standard: Standard, device: torch.device) -> Tensor:
    """[R, ..., D] -> [R, L, D] of mean 0 and standard deviation 1."""
    flat = features.reshape(len(features), -1, features.shape[-1])
    return torch.as_tensor(standard(flat).astype(np.float32), device=device)
