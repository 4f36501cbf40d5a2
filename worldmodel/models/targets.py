"""Where targets come from: the encoder that is trained, a slow copy of it, or that of a finished run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import nn

from worldmodel.config import Config
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.video_encoder import VideoEncoderConfig

Encoder = TypeVar("Encoder", bound=nn.Module)


class SharedTarget(Config):
    """Targets come from the encoder that is trained; only the objectives keep it from collapse."""

    kind: Literal["shared"] = "shared"
    stop_gradient: bool = False  # False: forecast and target move towards each other (Bardes et al. 2022; PLDM)

    @property
    def against_collapse(self) -> str | None:
        """What in these targets keeps latents of different things different, in words; so of all targets."""
        return "stopped gradient of targets" if self.stop_gradient else None


class EmaTarget(Config):
    """Targets come from a slow copy of the encoder (Grill et al. 2020; V-JEPA)."""

    kind: Literal["ema"] = "ema"
    momentum: float = Field(0.996, ge=0, le=1)  # at the first update
    momentum_end: float = Field(1.0, ge=0, le=1)  # at the last, reached linearly

    @property
    def against_collapse(self) -> str | None:
        return "targets of a teacher (ema)"


class FrozenTarget(Config):
    """Targets come from the encoder of a finished run, which nothing moves any more (Li et al. 2025, SALT, stage 2)."""

    kind: Literal["frozen"] = "frozen"
    run: str  # run folder or checkpoint, of the same family; of its encoders the one that its own targets came from
    encoder: Config | None = None  # that run's; filled in when training starts, so that `run` is not needed later

    @property
    def against_collapse(self) -> str | None:
        return "targets of a teacher (frozen)"

    def misfits(self, student: Config, alike: Sequence[str]) -> list[str]:
        """Where latents of the teacher could not be what this encoder's latents are compared with; one line each."""
        if self.encoder is None:
            return []
        return [
            f"model.encoder.{name} {ours} is not that of the frozen teacher, {theirs} (model.target.encoder); make them equal"
            for name in alike
            if (theirs := getattr(self.encoder, name)) != (ours := getattr(student, name))
        ]


class FrozenFrames(FrozenTarget):
    """A frozen teacher that looks at frames (kind causal)."""

    encoder: EncoderConfig | None = None


class FrozenTubelets(FrozenTarget):
    """A frozen teacher that looks at a whole clip (kind masked)."""

    encoder: VideoEncoderConfig | None = None


def teacher_of(encoder: Encoder, target: Config, fresh: Callable[[Any], Encoder]) -> Encoder | None:
    """The encoder that targets come from where it is not the one that is trained: a slow copy, equal at birth, or
    `fresh(target.encoder)`, a frozen one whose weights are still to be filled in."""
    if isinstance(target, EmaTarget):
        return copy.deepcopy(encoder).requires_grad_(False)
    if not isinstance(target, FrozenTarget):
        return None
    if target.encoder is None:
        raise ValueError(
            "model.target.encoder is not known; worldmodel.training.teacher.resolved fills it in from model.target.run"
        )
    return fresh(target.encoder).requires_grad_(False)


@torch.no_grad()
def follow(teacher: nn.Module | None, encoder: nn.Module, target: Config, progress: float) -> None:
    """Move the slow copy towards the encoder; `progress` in [0, 1] through the run."""
    if teacher is None or not isinstance(target, EmaTarget):
        return
    momentum = target.momentum + (target.momentum_end - target.momentum) * progress
    for slow, fast in zip(teacher.parameters(), encoder.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)
