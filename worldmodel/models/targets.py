"""Where targets come from: the trained encoder itself, a slow copy of it, or the encoder of a finished run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field, PositiveFloat
from torch import nn

from worldmodel.config import Config
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.video_encoder import VideoEncoderConfig

Encoder = TypeVar("Encoder", bound=nn.Module)


class SharedTarget(Config):
    """Targets come from the trained encoder. Without stop_gradient, only the objectives prevent collapse."""

    kind: Literal["shared"] = "shared"
    stop_gradient: bool = False
    """False: forecast and target move towards each other (Bardes et al. 2022; PLDM)"""

    @property
    def anti_collapse_method(self) -> str | None:
        """The property of these targets that prevents collapse; None if there is none. Every kind of target has it."""
        return "stopped gradient of targets" if self.stop_gradient else None


class EmaTarget(Config):
    """Targets come from an exponential moving average of the encoder (Grill et al. 2020; V-JEPA)."""

    kind: Literal["ema"] = "ema"
    momentum: float = Field(0.996, ge=0, le=1)
    """momentum at the first training step"""
    momentum_end: float = Field(1.0, ge=0, le=1)
    """momentum at the last training step; it changes linearly in between"""

    @property
    def anti_collapse_method(self) -> str | None:
        return "targets of a teacher (ema)"


class FrozenTarget(Config):
    """Targets come from the encoder of a finished run, which is no longer trained (Li et al. 2025, SALT, stage 2)."""

    kind: Literal["frozen"] = "frozen"
    run: str
    """run folder or checkpoint of the same family; its own target encoder becomes the teacher"""
    encoder: Config | None = None
    """encoder of that run; filled in when training starts, so that `run` is not needed later"""

    @property
    def anti_collapse_method(self) -> str | None:
        return "targets of a teacher (frozen)"

    def mismatches(self, student: Config, fields: Sequence[str]) -> list[str]:
        """Return the fields in which teacher and student must agree but do not, one line each."""
        if self.encoder is None:
            return []
        return [
            f"model.encoder.{name} is {ours}, the frozen teacher has {theirs} (model.target.encoder); make them equal"
            for name in fields
            if (theirs := getattr(self.encoder, name)) != (ours := getattr(student, name))
        ]


class FrozenFrameTarget(FrozenTarget):
    """A frozen teacher that encodes frames (kind causal)."""

    encoder: EncoderConfig | None = None
    """encoder of that run; filled in when training starts"""


class FrozenTubeletTarget(FrozenTarget):
    """A frozen teacher that encodes a whole clip (kind masked)."""

    encoder: VideoEncoderConfig | None = None
    """encoder of that run; filled in when training starts"""
    cache: str | None = None
    """folder in which the targets of each window are stored when they are first computed, and from which they are read when
    it comes again, also in other runs with this teacher; null = computed in every training step"""
    cache_gb: PositiveFloat = 20.0
    """limit of the targets of this teacher in the folder, in GB, of all processes of a run together; beyond it, none are
    stored"""


def build_teacher(encoder: Encoder, target: Config, build_encoder: Callable[[Any], Encoder]) -> Encoder | None:
    """Build the teacher, an encoder without gradient that targets come from; None if they come from the trained encoder.

    An EMA teacher starts as an equal copy. A frozen one is `build_encoder(target.encoder)`; its weights must still be loaded.
    """
    if isinstance(target, EmaTarget):
        return copy.deepcopy(encoder).requires_grad_(False)
    if not isinstance(target, FrozenTarget):
        return None
    if target.encoder is None:
        raise ValueError(
            "model.target.encoder is missing; worldmodel.training.teacher.with_teacher reads it from model.target.run"
        )
    return build_encoder(target.encoder).requires_grad_(False)


@torch.no_grad()
def update_ema_teacher(teacher: nn.Module | None, encoder: nn.Module, target: Config, progress: float) -> None:
    """Move an EMA teacher towards the encoder; `progress` in [0, 1] through the run. Other teachers are not changed."""
    if teacher is None or not isinstance(target, EmaTarget):
        return
    momentum = target.momentum + (target.momentum_end - target.momentum) * progress
    weights: list[torch.Tensor] = list(encoder.parameters())
    if len(weights) != len(own := dict(teacher.named_parameters())):  # adapters: the teacher follows the adapted weights
        weights = [attrgetter(name)(encoder) for name in own]
    # all weights in one call: on a GPU, one kernel for many of them instead of one for each
    torch._foreach_lerp_(list(own.values()), weights, 1 - momentum)
