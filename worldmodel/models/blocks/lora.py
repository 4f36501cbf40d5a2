"""Low-rank adapters of linear layers (LoRA, Hu et al. 2022): W + alpha / rank * up @ down, where only up and down are trained.

An adapter is a parametrization of the weight (torch.nn.utils.parametrize) and not a layer around it, because attention and
predictors read parts of `weight` themselves, where a layer around it would be bypassed without a word. The price: a step
computes the whole adapted weight, and its gradient. What is saved is the state of the optimizer.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.utils import parametrize

from worldmodel.config import Config, ConfigError

_ORIGINAL = ".parametrizations.weight.original"


class LoraConfig(Config):
    """Adapters are trained instead of the weights, which stay those of `init_from`."""

    rank: PositiveInt = 8
    """rank of the change of each weight"""
    alpha: PositiveFloat = 16.0
    """the change is multiplied by alpha / rank"""
    targets: tuple[str, ...] = Field(("attention.qkv", "attention.out"), min_length=1)
    """linear layers of encoder and predictor that get an adapter, by the end of their names"""


class LowRank(nn.Module):
    """The parametrization. It starts as the weight itself, since `up` is zero."""

    def __init__(self, weight: Tensor, config: LoraConfig) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.scale = config.alpha / config.rank
        self.down = nn.Parameter(weight.new_empty(config.rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, config.rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):  # small changes would be lost in bfloat16
            return torch.addmm(weight, self.up, self.down, alpha=self.scale)


def add_adapters(model: nn.Module, config: LoraConfig) -> None:
    """Add adapters to the encoder and the predictor of a model, and freeze everything else, in place.

    Raises ConfigError for a target that no linear layer has.
    """
    parts = {name: layer for name, layer in model.named_modules() if name.startswith(("encoder.", "predictor."))}
    linear = {name: layer for name, layer in parts.items() if isinstance(layer, nn.Linear)}
    for target in config.targets:
        if not any(f".{name}".endswith(f".{target}") for name in linear):
            ends = sorted({".".join(name.split(".")[-2:]) for name in linear})
            near = ", ".join(difflib.get_close_matches(target, ends, 3)) or "none"
            raise ConfigError([f"model.lora.targets: no linear layer ends with {target!r}; near are {near}"])
    model.requires_grad_(False)
    for name, layer in linear.items():
        if any(f".{name}".endswith(f".{target}") for target in config.targets):
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, config))


def merge_adapters(model: nn.Module) -> None:
    """Replace adapted weights by their present values, in place. A model without adapters is left unchanged."""
    for layer in list(model.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def with_adapters(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a model without adapters, renamed for a model that has them; the adapters are those of `state`.

    Tensors that have adapters already are returned as they are.
    """
    names = {name.replace(_ORIGINAL, ".weight"): name for name in state}
    found = {names.get(name, name): tensor for name, tensor in tensors.items()}
    if not any(_is_adapter(name) for name in tensors):
        found |= {name: tensor for name, tensor in state.items() if _is_adapter(name)}
    return found


def _is_adapter(name: str) -> bool:
    return ".parametrizations.weight." in name and not name.endswith(_ORIGINAL)
