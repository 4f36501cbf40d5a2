"""Interface of a trained model for evaluation, probes and rollouts, and functions that all families share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

DistanceKind = Literal["l1", "l2", "smooth_l1"]


class WorldModel(Protocol):
    """Shapes: B clips, T frames, f frames per latent step (`tubelet_size`), N spatial tokens, D features.

    `target_scope` says what a target latent depends on: "past" (its own past only) or "window" (the whole window, future
    included). Scores of models with different scopes are not comparable.
    """

    fps: float
    tubelet_size: int  # f
    max_context: int  # frames
    max_horizon: int  # latent steps that `forecast` reaches
    max_span: int | None  # frames of a context and the forecast after it together, at most; None = no such limit
    size_px: int
    target_scope: Literal["past", "window"]

    @property
    def latent_shape(self) -> tuple[int, int]:
        """(N, D) of a latent step."""

    @property
    def architecture(self) -> dict[str, Any]:
        """Everything that determines the model except its weights, in JSON types."""

    def reinitialised(self) -> nn.Module:
        """Build an untrained model of the same architecture. Its weights are drawn from torch's global generator."""

    def normalise(self, frames: Tensor) -> Tensor:
        """Convert uint8 [B, T, H, W, 3] to float [B, T, 3, H, W], the input of the other methods."""

    def encode(self, frames: Tensor) -> Tensor:
        """Encode targets, as the training loss sees them, without gradient: [B, T, 3, H, W] -> [B, T/f, N, D]."""

    def forecast(self, context: Tensor, steps: int) -> Tensor:
        """Forecast directly: [B, C, 3, H, W] -> [B, steps, N, D]. Raises ReachError if C or steps exceed the model."""

    def rollout(self, context: Tensor, steps: int, generator: Generator | None = None) -> Tensor:
        """Forecast by feeding predictions back, any number of steps: [B, C, 3, H, W] -> [B, steps, N, D]."""

    def distance(self, forecast: Tensor, target: Tensor) -> Tensor:
        """Error of a forecast, by the distance that the model was trained with: [..., D], [..., D] -> [...]."""


@dataclass(frozen=True)
class SharedContext:
    """The first A latent steps of the contexts of a batch. Contexts that begin alike have them in common."""

    latents: Tensor  # [P, A, N, D]
    row: Tensor  # int64 [B]: which of the P beginnings a context continues


@runtime_checkable
class FrameWise(Protocol):
    """A world model whose latents depend on their own f frames only, so that overlapping windows can share them."""

    def encode_context_and_target(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Encode frames as context and as targets (as `encode`): [B, T, 3, H, W] -> [B, T/f, N, D] twice."""

    def forecast_from_latents(
        self, latents: Tensor, context_steps: Sequence[int], steps: int, shared: SharedContext | None = None
    ) -> Tensor:
        """Forecast from the first s latent steps of a window, for each s in `context_steps`, as `forecast` does.

        Context latents [B, T, N, D] of `encode_context_and_target` -> [B, len(context_steps), steps, N, D]. `shared`: the
        steps before `latents`, which contexts have in common; they count in `context_steps`, which must ascend.
        """

    def forecast_all(self, frames: Tensor) -> Tensor:
        """Forecast from every step of a window in one pass: [B, T, 3, H, W] -> [B, T/f, max_horizon, N, D].

        Row t, horizon k is what `forecast` returns for step t+k after a context of t+1 latent steps.
        """


@runtime_checkable
class Layered(Protocol):
    """A world model that returns the outputs of its layers, so that they can be probed."""

    def layers(self, frames: Tensor) -> dict[str, Tensor]:
        """Return layer outputs of a window [B, T, 3, H, W], in forward order: name -> [B, T/f, N', D'], without gradient.

        Of the encoder that targets come from: "patches" before the first block, "block 1" and so on after each, "output".
        Then, if each token of the predictor belongs to a time step: "predictor block 1" and so on, which for step t have
        attended to steps 0..t. The number of tokens N' (row by row) and of features D' may differ between layers.
        """


def latent_distance(a: Tensor, b: Tensor, kind: DistanceKind) -> Tensor:
    """Mean over features, in at least float32: [..., D], [..., D] -> [...]."""
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    a, b = a.to(dtype), b.to(dtype)
    if kind == "l1":
        return (a - b).abs().mean(-1)
    if kind == "l2":
        return (a - b).square().mean(-1)
    return F.smooth_l1_loss(a, b, reduction="none").mean(-1)


def window_frames(model: WorldModel) -> int:
    """Number of frames that a model sees at once."""
    return model.max_context if model.max_span is None else model.max_span


def direct_horizon(model: WorldModel, context: int) -> int:
    """Number of latent steps that `forecast` reaches after a context of so many frames."""
    if model.max_span is None:
        return model.max_horizon
    return min(model.max_horizon, (model.max_span - context) // model.tubelet_size)


class ReachError(ValueError):
    """The context or the horizon exceeds what the model supports; the message says what was requested and what is possible."""


def check_context(model: WorldModel, frames: int) -> None:
    """Raise ReachError unless the model takes a context of so many frames."""
    if frames == 0 or frames % model.tubelet_size:
        raise ReachError(
            f"a context of {frames} frames is not a positive multiple of {model.tubelet_size} (frames per latent step)"
        )
    if frames > model.max_context:
        raise ReachError(f"a context of {frames} frames is longer than the {model.max_context} that this model was built for")


def check_size(model: WorldModel, frames: Tensor) -> None:
    """Raise ValueError unless frames [B, T, 3, H, W] have the model's size; otherwise token positions would be wrong."""
    if frames.shape[-2:] != (model.size_px, model.size_px):
        raise ValueError(
            f"frames of {frames.shape[-1]} x {frames.shape[-2]} px, but this model was built for {model.size_px} px; "
            "build it with another window.size_px (models with rotary positions take any size with the same weights)"
        )


def check_forecast(model: WorldModel, frames: int, steps: int) -> None:
    """Raise ReachError unless `forecast` takes a context of so many frames and reaches so many latent steps after it."""
    check_context(model, frames)
    if not 0 < steps <= model.max_horizon:
        raise ReachError(f"{steps} steps were requested; this model forecasts 1 to {model.max_horizon} directly")
    if model.max_span is not None and (total := frames + steps * model.tubelet_size) > model.max_span:
        raise ReachError(
            f"a context of {frames} frames and {steps} steps after it are {total} frames, but this model's window has "
            f"{model.max_span}; give a shorter context, or request fewer steps"
        )
