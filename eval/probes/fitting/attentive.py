"""Attentive probes: a learned query attends to the tokens of frozen latents, and a small head
predicts from the result.

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

from eval.probes.fitting.cross_fitting import Probe
from eval.probes.fitting.linear import Groups, Standardiser, Values

LEARNING_RATES = (1e-3, 3e-3, 1e-2)
STEPS = 300
EVAL_EVERY = 50  # steps between evaluations on the selection rows: a probe of few clips overfits early
BATCH_ROWS = 256
WIDTH, HEADS = 64, 4
WEIGHT_DECAY = 0.01
HELD_OUT_EVERY = 5  # every N-th clip is held out to choose the learning rate and the number of steps
EVAL_ROWS = 4096  # per forward pass


class AttentivePool(nn.Module):
    """One learned query attends to all tokens, which have learned position embeddings: [R, L, D] ->
    [R, outputs].

    Because there is one query only, the query is multiplied by the key weights once, and the value
    weights are applied after the weighted sum. The result equals attention with a key and a value
    per token, without computing them.
    """

    def __init__(self, tokens: int, features: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, WIDTH)
        self.code = nn.Parameter(torch.randn(tokens, WIDTH))  # position embeddings, as large as the embedded features
        self.query = nn.Parameter(torch.randn(WIDTH) / WIDTH**0.5)
        self.keys = nn.Linear(WIDTH, WIDTH, bias=False)  # a bias would add the same to all logits
        self.values = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        pooled = self.attend(tokens)
        return self.head(pooled + self.mlp(pooled))

    def attend(self, tokens: Tensor) -> Tensor:
        """[R, L, D] -> [R, WIDTH]"""
        code = self.code + self.embed.bias
        query = einsum(self.query.view(HEADS, -1), self.keys.weight.view(HEADS, -1, WIDTH), "h w, h w m -> h m")
        logits = tokens @ (query @ self.embed.weight).T + code @ query.T  # [R, L, h]
        attention = (logits * (WIDTH // HEADS) ** -0.5).softmax(1)
        pooled = einsum(attention, tokens, "r l h, r l d -> r h d") @ self.embed.weight.T
        pooled = pooled + einsum(attention, code, "r l h, l m -> r h m")
        found = einsum(pooled, self.values.weight.view(HEADS, -1, WIDTH), "r h m, h w m -> r h w")
        return rearrange(found, "r h w -> r (h w)") + self.values.bias


class MeanPool(nn.Module):
    """The linear counterpart: a linear map of the mean over tokens: [R, L, D] -> [R, outputs]."""

    def __init__(self, tokens: int, features: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(features, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(tokens.mean(1))


Head = Callable[[int, int, int], nn.Module]
"""(tokens, features, outputs) -> a module."""


@dataclass(frozen=True)
class TrainedProbe:
    """A trained head and the scaling of its inputs and outputs.

    Predicts numbers [R, C], or classes [R].
    """

    head: nn.Module
    standardiser: Standardiser  # of features, the same for all tokens
    target_scale: Standardiser | None  # of numbers
    classes: NDArray[np.int64] | None
    learning_rate: float  # the one that was chosen
    steps: int  # the number that was chosen
    losses: dict[float, float]  # the smallest loss on the selection rows, by learning rate

    @torch.no_grad()
    def __call__(self, features: Values) -> Values:
        parts = [self.head(part).cpu().numpy() for part in _tokens(features, self.standardiser, self._device).split(EVAL_ROWS)]
        out = np.concatenate(parts)
        if self.classes is not None:
            return self.classes[out.argmax(1)]
        assert self.target_scale is not None
        return out * np.where(np.isfinite(self.target_scale.std), self.target_scale.std, 0) + self.target_scale.mean

    @property
    def _device(self) -> torch.device:
        return next(self.head.parameters()).device


def fit_numbers(features: Values, targets: Values, group: Groups, device: torch.device) -> Probe:
    """Fit latents [R, S, N, D] (or [R, L, D]) to numbers [R, C].

    A fifth of the clips is held out to choose the learning rate and the number of steps.
    """
    held_out = np.unique(group, return_inverse=True)[1] % HELD_OUT_EVERY == 0
    return train_probe(AttentivePool, features, targets, None, ~held_out, held_out, device)


def fit_classes(features: Values, labels: Values, group: Groups, device: torch.device) -> Probe:
    """Fit latents to classes [R], with equal total weight for each class."""
    held_out = np.unique(group, return_inverse=True)[1] % HELD_OUT_EVERY == 0
    classes, label = np.unique(labels.astype(np.int64), return_inverse=True)
    weights = 1 / np.bincount(label) / len(classes) * len(label)
    return train_probe(AttentivePool, features, label, classes, ~held_out, held_out, device, weights)


def train_probe(
    head: Head,
    features: Values,
    targets: Values | NDArray[np.int64],
    classes: NDArray[np.int64] | None,
    training: NDArray[np.bool_],
    selection: NDArray[np.bool_],
    device: torch.device,
    class_weights: Values | None = None,
    learning_rates: Sequence[float] = LEARNING_RATES,
) -> TrainedProbe:
    """Train a head on the rows `training` at each learning rate.

    Return the state with the smallest loss on the rows `selection`, over all learning rates and
    evaluations.

    targets: numbers [R, C], or with `classes` the index of each row's class [R].
    """
    standardiser = Standardiser.of(features[training].reshape(-1, features.shape[-1]))
    tokens = _tokens(features, standardiser, device)
    scale = Standardiser.of(targets[training].astype(np.float64)) if classes is None else None
    scaled = targets if scale is None else scale(targets.astype(np.float64)).astype(np.float32)
    wanted = torch.as_tensor(scaled, device=device)
    weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32, device=device)

    def loss(out: Tensor, rows: Tensor) -> Tensor:
        if classes is None:
            return F.mse_loss(out, wanted[rows])
        return F.cross_entropy(out, wanted[rows], weights)

    train_rows = torch.as_tensor(np.flatnonzero(training), device=device)
    selection_rows = torch.as_tensor(np.flatnonzero(selection), device=device)
    outputs = len(classes) if classes is not None else targets.shape[1]

    @torch.no_grad()
    def selection_loss(net: nn.Module) -> float:
        out = torch.cat([net(tokens[part]) for part in selection_rows.split(EVAL_ROWS)])
        value = float(loss(out, selection_rows))
        return value if np.isfinite(value) else np.inf

    best: tuple[float, float, int, nn.Module] | None = None
    losses = {}
    for rate in learning_rates:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = head(tokens.shape[1], tokens.shape[2], outputs).to(device)
            losses[rate] = np.inf
            for step in _train(net, tokens, train_rows, loss, rate):
                value = selection_loss(net)
                losses[rate] = min(losses[rate], value)
                if best is None or value < best[0]:
                    best = value, rate, step, deepcopy(net)
    assert best is not None
    _, rate, step, net = best
    return TrainedProbe(net.eval(), standardiser, scale, classes, rate, step, losses)


def _train(
    net: nn.Module, tokens: Tensor, rows: Tensor, loss: Callable[[Tensor, Tensor], Tensor], rate: float
) -> Iterator[int]:
    """Train `net` in place. Yields the number of steps done each time the head should be evaluated."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(1, STEPS + 1):
        batch = rows[torch.randint(len(rows), (min(BATCH_ROWS, len(rows)),)).to(rows.device)]
        optimizer.zero_grad()
        loss(net(tokens[batch]), batch).backward()
        optimizer.step()
        schedule.step()
        if step % EVAL_EVERY == 0 or step == STEPS:
            yield step


def _tokens(features: Values, standardiser: Standardiser, device: torch.device) -> Tensor:
    """[R, ..., D] -> [R, L, D] with mean 0 and standard deviation 1."""
    flat = features.reshape(len(features), -1, features.shape[-1])
    return torch.as_tensor(standardiser(flat).astype(np.float32), device=device)
