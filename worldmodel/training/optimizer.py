"""Optimizers, their parameter groups, and learning rate schedules as pure functions of the training step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import nn
from torch.nn.utils import parametrize

from worldmodel.config import Config, ConfigError
from worldmodel.models.blocks.layers import Block
from worldmodel.models.blocks.recurrence import GatedRecurrence
from worldmodel.training import eager_optimizers
from worldmodel.training.fine_tuning import layer_scales
from worldmodel.training.row_shards import is_sharded


class OptimConfig(Config):
    """AdamW (Loshchilov & Hutter 2019), or Muon (Jordan 2024) for hidden matrices and AdamW for the rest.

    The learning rate rises linearly, then follows `schedule`.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    """muon optimises hidden matrices, adamw the rest"""
    lr: PositiveFloat = 1e-3
    """of AdamW, after the warm-up"""
    muon_lr: PositiveFloat = 0.02
    """of hidden matrices with muon; its updates are orthogonal, so it needs another scale"""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """how the learning rate falls after the warm-up"""
    warmup_steps: NonNegativeInt = 100
    """training steps in which the learning rate rises linearly"""
    min_lr_ratio: float = Field(0.05, ge=0, le=1)
    """learning rate at the last step / full learning rate (not with "constant")"""
    weight_decay: NonNegativeFloat = 0.02
    """of weight matrices, and of adapters, whose change of a weight it shrinks; biases, norms and positions have none"""
    beta1: float = Field(0.9, ge=0, lt=1)
    """of AdamW, for the running mean of gradients"""
    beta2: float = Field(0.999, ge=0, lt=1)
    """of AdamW, for the running mean of squared gradients"""
    clip_norm: PositiveFloat | None = 1.0
    """largest norm of the whole gradient; null = no clipping"""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """learning rate of each encoder block / that of the block above it; below 1 to adapt pretrained weights"""
    frozen: tuple[str, ...] = ()
    """parts of the model that are not trained, such as encoder.patch or encoder.blocks.layers.0"""
    encoder_steps: PositiveInt | None = None
    """number of training steps in which the encoder is trained; later it stays as it is. null = all steps. In long trainings,
    latents move to what is easy to forecast and lose the picture"""


Optimizers = tuple[torch.optim.Optimizer, ...]


def lr_ratio_at(step: int, config: OptimConfig, max_steps: int) -> float:
    """Learning rate / full learning rate at step 0, 1, ... max_steps-1."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup_steps) / max(1, max_steps - 1 - config.warmup_steps)
    remaining = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * remaining


def set_lr(optimizers: Optimizers, config: OptimConfig, ratio: float) -> None:
    """Set the learning rate of every optimizer to `ratio` times its full one."""
    for optimizer in optimizers:
        full = config.lr if isinstance(optimizer, torch.optim.AdamW) else config.muon_lr
        for group in optimizer.param_groups:
            group["lr"] = full * ratio * group.get("lr_scale", 1.0)


def clip_gradients(module: nn.Module, clip_norm: float | None) -> torch.Tensor:
    """Clip the gradient in place to a norm of `clip_norm`, and return its norm before clipping. None: no clipping."""
    if clip_norm is None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    else:
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), clip_norm)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # sharded under FSDP2


def keep_encoder(encoder: nn.Module, config: OptimConfig, step: int) -> None:
    """Remove the gradient of the encoder from step `encoder_steps` on, so that optimizers leave its weights as they are.

    Call it before the gradient is clipped. The gradient is computed nevertheless, because DDP and FSDP2 expect one of every
    parameter in every step.
    """
    if config.encoder_steps is not None and step >= config.encoder_steps:
        for parameter in encoder.parameters():
            parameter.grad = None


def build_optimizers(module: nn.Module, config: OptimConfig) -> Optimizers:
    """Build the optimizers of all trainable parameters. Only weights of linear and convolutional layers have weight decay."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)]
    decayed = {id(weight) for layer in layers for weight in _weights(layer)}
    hidden = {id(weight) for weight in hidden_matrices(module)} if config.kind == "muon" else set()
    trained = [p for p in module.parameters() if p.requires_grad]
    scales = layer_scales(module, config.layer_decay)
    scale_of = {id(parameter): scales[name] for name, parameter in module.named_parameters()}
    groups = [
        *_by_scale([p for p in trained if id(p) in decayed - hidden], scale_of, config.weight_decay),
        *_by_scale([p for p in trained if id(p) not in decayed | hidden], scale_of, 0.0),
    ]
    adamw = eager_optimizers.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)
    matrices = [p for p in trained if id(p) in hidden]
    if not matrices:
        return (adamw,)
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError([f"optim.kind muon needs torch 2.9 or newer, this is {torch.__version__}; use adamw"])
    groups = _by_scale(matrices, scale_of, config.weight_decay)
    if is_sharded(matrices[0]):
        from worldmodel.training.sharded_muon import ShardedMuon

        return adamw, ShardedMuon(groups, lr=config.muon_lr, weight_decay=config.weight_decay)
    return adamw, eager_optimizers.Muon(groups, lr=config.muon_lr, weight_decay=config.weight_decay)


def _weights(layer: nn.Module) -> list[torch.Tensor]:
    """The parameters that make the weight of a layer: the weight, or those of its parametrization (adapters)."""
    if parametrize.is_parametrized(layer, "weight"):  # then `layer.weight` is computed, and is no parameter
        return [parameter for parameter in layer.parametrizations["weight"].parameters() if parameter.ndim > 1]  # type: ignore[union-attr,index]
    return [layer.weight]  # type: ignore[list-item]


def _by_scale(parameters: Sequence[torch.Tensor], scale_of: dict[int, float], weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups, one for each fraction of the learning rate, in the order in which they occur."""
    groups: dict[float, list[torch.Tensor]] = {}
    for parameter in parameters:
        groups.setdefault(scale_of[id(parameter)], []).append(parameter)
    return [{"params": found, "weight_decay": weight_decay, "lr_scale": scale} for scale, found in groups.items()]


def hidden_matrices(module: nn.Module) -> list[torch.Tensor]:
    """List the weights of transformer blocks without those of recurrences, and of all layers of MLP heads but the last.

    These are the matrices that neither read pixels or latents nor write latents. Steps of Muon are too large for gates: docs/
    transfer.md, "Recurrences".
    """
    found: dict[int, torch.Tensor] = {}
    gated = {id(layer) for part in module.modules() if isinstance(part, GatedRecurrence) for layer in part.modules()}
    for part in module.modules():
        layers = [layer for layer in part.modules() if isinstance(layer, nn.Linear) and id(layer) not in gated]
        if isinstance(part, nn.Sequential):
            layers.pop()
        elif not isinstance(part, Block):
            continue
        found |= {id(layer.weight): layer.weight for layer in layers}
    return list(found.values())
