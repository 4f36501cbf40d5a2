"""What evaluation, probes and rollouts may ask of a model, whatever its family, and what families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

DistanceKind = Literal["l1", "l2", "smooth_l1"]


class WorldModel(Protocol):
    """Shapes: B clips, T frames, f frames a latent, N places, D features.

    `target_scope` says what a target latent has seen: "past" (its own past alone) or "window" (the whole window, future
    included). Scores of models with different scopes are not comparable.
    """

    fps: float
    tubelet_size: int
    max_context: int  # frames
    max_steps: int  # latent steps that `forecast` reaches
    max_span: int | None  # frames that a context and what is forecast after it may fill together; None = no such limit
    size_px: int
    target_scope: Literal["past", "window"]

    @property
    def latent_shape(self) -> tuple[int, int]:
        """(N, D) of a latent step."""

    @property
    def architecture(self) -> dict[str, Any]:
        """All that determines the model but its weights, in JSON's types."""

    def reborn(self) -> nn.Module:
        """A model of the same architecture as it is born; its randomness comes from torch's global generator."""

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 [B, T, H, W, 3] -> float [B, T, 3, H, W], as the model wants its pixels."""

    def encode(self, frames: Tensor) -> Tensor:
        """[B, T, 3, H, W] -> targets [B, T/f, N, D] as the loss sees them, without gradient."""

    def forecast(self, context: Tensor, steps: int) -> Tensor:
        """[B, C, 3, H, W] -> [B, steps, N, D], directly. Raises ValueError if C or steps are beyond the model."""

    def imagine(self, context: Tensor, steps: int, generator: Generator | None = None) -> Tensor:
        """[B, C, 3, H, W] -> [B, steps, N, D], predictions fed back; as many steps as asked."""

    def distance(self, forecast: Tensor, target: Tensor) -> Tensor:
        """[..., D], [..., D] -> [...]: how wrong a forecast is, by the model's own measure."""


@runtime_checkable
class FrameWise(Protocol):
    """A world model whose latents depend on their own f frames alone, so that windows which overlap can share them."""

    def observe(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, 3, H, W] -> latents a context is made of, and targets as `encode` gives them: [B, T/f, N, D] twice."""

    def forecast_after(self, latents: Tensor, seen: Sequence[int], steps: int) -> Tensor:
        """What `forecast` says after the first `seen` latent steps of a window, for each of these numbers.

        latents [B, T, N, D] as `observe` gives them -> [B, len(seen), steps, N, D].
        """

    def forecast_all(self, frames: Tensor) -> Tensor:
        """Direct forecasts from every step of a window in one pass: [B, T, 3, H, W] -> [B, T/f, max_steps, N, D].

        Row t, horizon k is what `forecast` says of step t+k after a context of t+1 latent steps.
        """


@runtime_checkable
class Layered(Protocol):
    """A world model that shows what its layers hold, so that one can ask what is encoded where."""

    def layers(self, frames: Tensor) -> dict[str, Tensor]:
        """A window [B, T, 3, H, W] -> by name, in the order they are passed: [B, T/f, N', D'], without gradient.

        Of the encoder that targets come from: "patches" before the first block, "block 1" and so on after each, "output";
        then, where each of its tokens belongs to a moment, of the predictor: "predictor block 1" and so on, which for
        step t has seen steps 0..t. Places N', row by row, and features D' are each layer's own.
        """


def latent_distance(a: Tensor, b: Tensor, kind: DistanceKind) -> Tensor:
    """Mean over features, in at least float32: [..., D], [..., D] -> [...]."""
    precise = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    a, b = a.to(precise), b.to(precise)
    if kind == "l1":
        return (a - b).abs().mean(-1)
    if kind == "l2":
        return (a - b).square().mean(-1)
    return F.smooth_l1_loss(a, b, reduction="none").mean(-1)


def window_frames(model: WorldModel) -> int:
    """Frames that a model takes in together."""
    return model.max_context if model.max_span is None else model.max_span


def direct_steps(model: WorldModel, context: int) -> int:
    """Latent steps that `forecast` reaches after a context of so many frames."""
    if model.max_span is None:
        return model.max_steps
    return min(model.max_steps, (model.max_span - context) // model.tubelet_size)


class ReachError(ValueError):
    """A context that a model cannot take, or a forecast further than it reaches; says what was asked and what is possible."""


def check_context(model: WorldModel, frames: int) -> None:
    """Raise ReachError unless a context of so many frames is one the model can take."""
    if frames == 0 or frames % model.tubelet_size:
        raise ReachError(f"a context of {frames} frames is not a positive multiple of {model.tubelet_size} (frames a latent)")
    if frames > model.max_context:
        raise ReachError(f"a context of {frames} frames is longer than the {model.max_context} the model was built for")


def check_size(model: WorldModel, frames: Tensor) -> None:
    """Raise ValueError for frames [B, T, 3, H, W] of another size: their tokens would be given the places of others."""
    if frames.shape[-2:] != (model.size_px, model.size_px):
        raise ValueError(
            f"frames of {frames.shape[-1]} x {frames.shape[-2]} px, but this model was built for {model.size_px} px; "
            "build it with another window.size_px (where positions are rotary, weights fit any size)"
        )


def check_forecast(model: WorldModel, frames: int, steps: int) -> None:
    """Raise ReachError unless `forecast` takes a context of so many frames and reaches so many latent steps after it."""
    check_context(model, frames)
    if not 0 < steps <= model.max_steps:
        raise ReachError(f"asked to forecast {steps} steps; this model forecasts 1 to {model.max_steps} directly")
    if model.max_span is not None and (both := frames + steps * model.tubelet_size) > model.max_span:
        raise ReachError(
            f"a context of {frames} frames and {steps} steps after it fill {both} frames, this model's window has "
            f"{model.max_span}; show it less, or ask for less"
        )
