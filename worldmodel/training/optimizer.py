"""Parameter groups, and schedules as pure functions of the number of updates done."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn

from worldmodel.config import Config, ConfigError
from worldmodel.models.layers import Block


class OptimConfig(Config):
    """AdamW (Loshchilov & Hutter 2019), or Muon (Jordan 2024) for hidden matrices and AdamW for the rest; a linear warm-up and
    one of three ways down."""

    kind: Literal["adamw", "muon"] = "adamw"  # muon takes hidden matrices, adamw the rest
    lr: PositiveFloat = 1e-3  # of AdamW, after the warm-up
    muon_lr: PositiveFloat = 0.02  # of hidden matrices under muon: their updates are orthogonal, so its scale is another
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # how the rate falls after the warm-up
    warmup_steps: NonNegativeInt = 100  # in which the rate rises linearly
    min_lr_ratio: float = Field(0.05, ge=0, le=1)  # of the full rate, reached at the last update (not by "constant")
    weight_decay: NonNegativeFloat = 0.02  # of matrices; never of biases, norms, positions
    beta1: float = Field(0.9, ge=0, lt=1)  # AdamW's, for the running mean of gradients
    beta2: float = Field(0.999, ge=0, lt=1)  # AdamW's, for that of their squares
    clip_norm: PositiveFloat | None = 1.0  # largest norm of the whole gradient; null = not clipped


Optimizers = tuple[torch.optim.Optimizer, ...]


def lr_share_at(update: int, config: OptimConfig, total: int) -> float:
    """Share of the full learning rate at update 0, 1, ... total-1."""
    if update < config.warmup_steps:
        return (update + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    progress = (update - config.warmup_steps) / max(1, total - 1 - config.warmup_steps)
    left = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * left


def set_lr(optimizers: Optimizers, config: OptimConfig, share: float) -> None:
    for optimizer in optimizers:
        full = config.lr if isinstance(optimizer, torch.optim.AdamW) else config.muon_lr
        for group in optimizer.param_groups:
            group["lr"] = full * share


def build_optimizers(module: nn.Module, config: OptimConfig) -> Optimizers:
    """Over what is trained; weight decay on the weights of linear and convolutional layers alone."""
    decayed = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)}
    hidden = {id(weight) for weight in hidden_matrices(module)} if config.kind == "muon" else set()
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) in decayed - hidden], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if id(p) not in decayed | hidden], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    adamw = torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)
    matrices = [p for p in trained if id(p) in hidden]
    if not matrices:
        return (adamw,)
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError([f"optim.kind muon needs torch 2.9 or newer, this is {torch.__version__}; use adamw"])
    return adamw, torch.optim.Muon(matrices, lr=config.muon_lr, weight_decay=config.weight_decay)


def hidden_matrices(module: nn.Module) -> list[torch.Tensor]:
    """Weights of transformer blocks, and of heads all but the last: what neither reads pixels or latents nor writes latents."""
    found: dict[int, torch.Tensor] = {}
    for part in module.modules():
        layers = [layer for layer in part.modules() if isinstance(layer, nn.Linear)]
        if isinstance(part, nn.Sequential):
            layers.pop()
        elif not isinstance(part, Block):
            continue
        found |= {id(layer.weight): layer.weight for layer in layers}
    return list(found.values())
