"""Several futures of one context, from a model that has no randomness of its own: its own errors, drawn and fed back."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Generator, Tensor

from worldmodel.models.world_model import FrameWise, WorldModel

_RESIDUALS = 512  # that the covariance is taken from, at most


class FrameWiseModel(WorldModel, FrameWise, Protocol):
    """A world model whose latents can be fed back one by one."""


@torch.no_grad()
def step_errors(model: FrameWiseModel, frames: Tensor, device: torch.device) -> Tensor:
    """Errors of forecasts one step ahead, less their mean, from uint8 [B, T, H, W, 3]: [R, N, D]."""
    errors = []
    for chunk in frames.split(16):
        pixels = model.normalise(chunk.to(device))
        errors.append((model.encode(pixels)[:, 1:] - model.forecast_all(pixels)[:, :-1, 0]).flatten(0, 1))
    residuals = torch.cat(errors).float()
    residuals = residuals[:: -(-len(residuals) // _RESIDUALS)]
    return residuals - residuals.mean(dim=0)


@torch.no_grad()
def continuation(model: FrameWiseModel, context: Tensor, steps: int, residuals: Tensor, generator: Generator) -> Tensor:
    """`imagine` with an error drawn at every step: [B, C, 3, H, W] -> [B, steps, N, D].

    Errors are normal with the covariance of `residuals` [R, N, D] over places and features, independent from step to step.
    """
    seen, _ = model.observe(context)
    longest, begin = model.max_context // model.tubelet_size, seen.shape[1]
    for _ in range(steps):
        last = seen[:, -longest:]
        ahead = model.forecast_after(last, [last.shape[1]], 1)[:, 0]
        weights = torch.randn(len(ahead), len(residuals), generator=generator).to(residuals) / len(residuals) ** 0.5
        noise = torch.einsum("br,rnd->bnd", weights, residuals)  # a mixture of R with normal weights has their covariance
        seen = torch.cat((seen, (ahead + noise[:, None]).to(seen.dtype)), dim=1)
    return seen[:, begin:]
