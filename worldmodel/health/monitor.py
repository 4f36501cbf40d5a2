"""Health checks during training, on latents and forecasts of held-out windows."""

from __future__ import annotations

import functools

import torch
from pydantic import PositiveInt
from torch import Tensor

from worldmodel.data.loader import Batch
from worldmodel.health.advice import Verdict
from worldmodel.health.metrics import compute_metrics
from worldmodel.health.moments import Moments, compute_moments, merge_moments
from worldmodel.health.verdicts import HealthCheck, HealthConfig, diagnose
from worldmodel.models import TrainedModel
from worldmodel.models.condition import condition_arguments
from worldmodel.models.world_model import FrameWise, WorldModel

_CHUNK = 16  # windows per pass, few enough to fit wherever training fits


class HealthMonitorConfig(HealthConfig):
    """When health checks run, on how many windows, and which verdicts end the run; with the thresholds of the verdicts."""

    every: PositiveInt = 250
    """training steps between two health checks"""
    windows: PositiveInt = 128
    """number of held-out windows; the same in every check, decoded once and held in memory"""
    stop_on: tuple[Verdict, ...] = ()
    """verdicts that end the run, after a checkpoint is saved"""


@torch.no_grad()
def run_health_check(
    model: TrainedModel, held_out: Batch, step: int, max_steps: int, config: HealthMonitorConfig, device: torch.device
) -> HealthCheck:
    """Check the model after `step` of `max_steps`. Raises NotFiniteError for NaN or infinite latents.

    Every rank computes the same on the same windows, so that no rank waits for another.
    """
    model.eval()
    frames = held_out.frames.split(_CHUNK)
    actions = [None] * len(frames) if held_out.actions is None else held_out.actions.split(_CHUNK)
    chunks = (
        _moments(model, part.to(device), None if known is None else known.to(device))
        for part, known in zip(frames, actions, strict=True)
    )
    moments = functools.reduce(merge_moments, chunks)
    model.train()
    metrics = compute_metrics(moments, fps=model.fps, tubelet_size=model.tubelet_size)
    return diagnose(metrics, config, step=step, max_steps=max_steps)


def forecasts_within(model: WorldModel, pixels: Tensor, actions: Tensor | None = None) -> Tensor:
    """Forecast a window from every context within it: [B, T, 3, H, W] -> [B, T/tubelet_size, max_horizon, N, D].

    Row t, horizon k is the forecast of step t+k after a context of t+1 latent steps; zeros where t+k is beyond the window.
    actions: between the frames, for a model that takes them.
    """
    if isinstance(model, FrameWise):
        return model.forecast_all(pixels, **condition_arguments(actions))
    steps = pixels.shape[1] // model.tubelet_size
    forecasts = pixels.new_zeros(len(pixels), steps, model.max_horizon, *model.latent_shape)
    for context in range(1, steps):
        ahead = min(model.max_horizon, steps - context)
        forecasts[:, context - 1, :ahead] = model.forecast(pixels[:, : context * model.tubelet_size], ahead)
    return forecasts


def _moments(model: WorldModel, frames: Tensor, actions: Tensor | None = None) -> Moments:
    pixels = model.normalise(frames)
    return compute_moments(model.encode(pixels).float(), forecasts_within(model, pixels, actions).float())
