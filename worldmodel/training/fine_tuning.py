"""Fine-tuning: which parameters are trained, and at which fraction of the learning rate."""

from __future__ import annotations

import difflib
import re

from torch import nn

from worldmodel.config import ConfigError

_BLOCK = re.compile(r"(?:.*\.)?encoder\.blocks\.layers\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:.*\.)?encoder\.(?:patch|position)(?:\.|$)")


def freeze(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Turn off the training of all parameters below these prefixes, such as `encoder.patch` or `encoder.blocks.layers.0`.

    Raises ConfigError for a prefix without a parameter, and if nothing would be left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(f"{name}.".startswith(f"{prefix}.") for name in names):
            parents = {name[:at] for name in names for at, letter in enumerate(name) if letter == "."}
            near = difflib.get_close_matches(prefix, sorted({*parents, *names}), 3)
            raise ConfigError([f"optim.frozen: no parameter is below {prefix!r}; near are {', '.join(near) or 'none'}"])
    for name, parameter in model.named_parameters():
        if any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes):
            parameter.requires_grad_(False)
    if prefixes and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError([f"optim.frozen {', '.join(prefixes)}: no parameter of the model is left to train"])


def layer_scales(module: nn.Module, decay: float) -> dict[str, float]:
    """Learning rate / full learning rate of each parameter by name (Clark et al. 2020, section 3.2; BEiT; VideoMAE).

    Of an encoder of L blocks: decay^(L+1) for patches and positions, decay^(L-i) for block i = 0..L-1. All others have 1.
    """
    names = [name for name, _ in module.named_parameters()]
    block_of = {name: int(found[1]) for name in names if (found := _BLOCK.match(name))}
    depth = 1 + max(block_of.values(), default=-1)

    def scale(name: str) -> float:
        if name in block_of:
            return float(decay ** (depth - block_of[name]))
        return float(decay ** (depth + 1)) if _EMBEDDING.match(name) else 1.0

    return {name: scale(name) for name in names}
