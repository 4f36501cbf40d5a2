"""Parameter groups, and schedules as pure functions of the number of updates done."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn

from worldmodel.config import Config


class OptimConfig(Config):
    """AdamW (Loshchilov & Hutter 2019) with a linear warm-up and one of three ways down."""

    lr: PositiveFloat = 1e-3
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_updates: NonNegativeInt = 100
    final_share: float = Field(0.05, ge=0, le=1)  # of `lr`, reached at the last update (not by "constant")
    weight_decay: NonNegativeFloat = 0.02  # of matrices; never of biases, norms, positions
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    clip_norm: PositiveFloat | None = 1.0  # largest norm of the whole gradient; null = not clipped


def lr_at(update: int, config: OptimConfig, total: int) -> float:
    """Learning rate of update 0, 1, ... total-1."""
    if update < config.warmup_updates:
        return config.lr * (update + 1) / config.warmup_updates
    if config.schedule == "constant":
        return config.lr
    progress = (update - config.warmup_updates) / max(1, total - 1 - config.warmup_updates)
    left = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.lr * (config.final_share + (1 - config.final_share) * left)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def build_optimizer(module: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over what is trained; weight decay on the weights of linear and convolutional layers alone."""
    decayed = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)}
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) in decayed], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if id(p) not in decayed], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)
