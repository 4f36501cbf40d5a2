"""Sample several futures of one context from a deterministic model: its own one-step errors are drawn and fed back."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Generator, Tensor

from worldmodel.models.condition import condition_arguments
from worldmodel.models.world_model import FrameWise, WorldModel

_MAX_RESIDUALS = 512  # from which the covariance is estimated


class FrameWiseModel(WorldModel, FrameWise, Protocol):
    """A world model whose latents can be fed back one by one."""


@torch.no_grad()
def one_step_errors(model: FrameWiseModel, frames: Tensor, device: torch.device, actions: Tensor | None = None) -> Tensor:
    """Compute errors of forecasts one step ahead, less their mean, on uint8 [B, T, H, W, 3]: [R, N, D].

    actions: between the frames, [B, T - 1, k * A], of a model that takes them.
    """
    errors = []
    for rows in torch.arange(len(frames)).split(16):
        pixels = model.normalise(frames[rows].to(device))
        given = condition_arguments(None if actions is None else actions[rows].to(device))
        errors.append((model.encode(pixels)[:, 1:] - model.forecast_all(pixels, **given)[:, :-1, 0]).flatten(0, 1))
    residuals = torch.cat(errors).float()
    residuals = residuals[:: -(-len(residuals) // _MAX_RESIDUALS)]
    return residuals - residuals.mean(dim=0)


@torch.no_grad()
def sample_continuation(
    model: FrameWiseModel,
    context: Tensor,
    steps: int,
    residuals: Tensor,
    generator: Generator,
    actions: Tensor | None = None,
) -> Tensor:
    """Roll out with a random error at every step: [B, C, 3, H, W] -> [B, steps, N, D].

    Errors are normal with the covariance of `residuals` [R, N, D] over tokens and features, independent from step to step.
    actions: between the frames of context and continuation, [B, C - 1 + steps * f, k * A], of a model that takes them.
    """
    latents, _ = model.encode_context_and_target(context)
    f = model.tubelet_size
    max_latents, first = model.max_context // f, latents.shape[1]
    for _ in range(steps):
        last = latents[:, -max_latents:]
        begin, end = (latents.shape[1] - last.shape[1]) * f, (latents.shape[1] + 1) * f - 1
        given = condition_arguments(None if actions is None else actions[:, begin:end])
        forecast = model.forecast_from_latents(last, [last.shape[1]], 1, **given)[:, 0]
        weights = torch.randn(len(forecast), len(residuals), generator=generator).to(residuals) / len(residuals) ** 0.5
        noise = torch.einsum("br,rnd->bnd", weights, residuals)  # a sum with normal weights has the covariance of the residuals
        latents = torch.cat((latents, (forecast + noise[:, None]).to(latents.dtype)), dim=1)
    return latents[:, first:]
