"""Published encoders without a predictor as world models. They forecast that nothing changes, the baseline "copy last"."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from worldmodel.models.pixels import standardise_, to_float
from worldmodel.models.world_model import check_context, check_forecast, latent_distance


class EncoderOnly(nn.Module):
    """Implements WorldModel, except what depends on the encoder. Probes, `eval voe` and rollouts of latents take it.

    A subclass sets the attributes, and has `latent_shape`, `architecture`, `reinitialised`, `encode` and `last_latent`.
    """

    target_scope: Literal["past", "window"]
    fps: float
    size_px: int
    tubelet_size: int
    max_context: int
    max_horizon: int
    max_span: int | None = None

    @property
    def latent_shape(self) -> tuple[int, int]:
        raise NotImplementedError

    @property
    def architecture(self) -> dict[str, Any]:
        raise NotImplementedError

    def reinitialised(self) -> nn.Module:
        raise NotImplementedError

    def encode(self, frames: Tensor) -> Tensor:
        raise NotImplementedError

    def last_latent(self, context: Tensor) -> Tensor:
        """The latent of the last step of a context: [B, C, 3, H, W] -> [B, N, D]."""
        raise NotImplementedError

    def normalise(self, frames: Tensor) -> Tensor:
        return standardise_(to_float(frames))

    @torch.no_grad()
    def forecast(self, context: Tensor, steps: int) -> Tensor:
        check_forecast(self, context.shape[1], steps)
        return repeated(self.last_latent(context), steps)

    @torch.no_grad()
    def rollout(self, context: Tensor, steps: int, generator: Generator | None = None) -> Tensor:
        """The last latent at every step. `generator` is not used."""
        check_context(self, context.shape[1])
        return repeated(self.last_latent(context), steps)

    def distance(self, forecast: Tensor, target: Tensor) -> Tensor:
        return latent_distance(forecast, target, "l2")


def repeated(latent: Tensor, steps: int) -> Tensor:
    """The same latent at every step: [B, N, D] -> [B, steps, N, D]."""
    return latent[:, None].expand(-1, steps, -1, -1)
