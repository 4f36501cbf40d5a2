"""Where targets come from: the encoder that is trained, or a slow copy of it."""

from __future__ import annotations

import copy
from typing import Literal, TypeVar

import torch
from pydantic import Field
from torch import nn

from worldmodel.config import Config

Encoder = TypeVar("Encoder", bound=nn.Module)


class SharedTarget(Config):
    """Targets come from the encoder that is trained; only the objectives keep it from collapse."""

    kind: Literal["shared"] = "shared"
    stop_gradient: bool = False  # False: forecast and target move towards each other (Bardes et al. 2022; PLDM)


class EmaTarget(Config):
    """Targets come from a slow copy of the encoder (Grill et al. 2020; V-JEPA)."""

    kind: Literal["ema"] = "ema"
    momentum: float = Field(0.996, ge=0, le=1)  # at the first update
    momentum_end: float = Field(1.0, ge=0, le=1)  # at the last, reached linearly


def slow_copy(encoder: Encoder, target: Config) -> Encoder | None:
    """The teacher that an EmaTarget asks for, equal to the encoder at birth; None for any other."""
    return copy.deepcopy(encoder).requires_grad_(False) if isinstance(target, EmaTarget) else None


@torch.no_grad()
def follow(teacher: nn.Module | None, encoder: nn.Module, target: Config, progress: float) -> None:
    """Move the slow copy towards the encoder; `progress` in [0, 1] through the run."""
    if teacher is None or not isinstance(target, EmaTarget):
        return
    momentum = target.momentum + (target.momentum_end - target.momentum) * progress
    for slow, fast in zip(teacher.parameters(), encoder.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)
