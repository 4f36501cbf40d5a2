"""When the doctor looks, and at what: the model's latents and forecasts on windows it never trains on."""

from __future__ import annotations

import functools

import torch
from pydantic import PositiveInt
from torch import Tensor

from worldmodel.data.loader import Batch
from worldmodel.health.diagnostics import Health, HealthConfig, Verdict, Vitals, diagnose, measure, merge
from worldmodel.models import TrainedModel
from worldmodel.models.world_model import FrameWise, WorldModel
from worldmodel.training.learner import NotFiniteError

_CHUNK = 16  # windows at once: what fits wherever training fits


class CheckupConfig(HealthConfig):
    """How often, on how much, and what ends the run; the doctor's own thresholds are diagnostics.HealthConfig."""

    every: PositiveInt = 250  # updates from one look to the next
    windows: PositiveInt = 128  # held out, fixed; decoded once and kept in memory
    stop_on: tuple[Verdict, ...] = ()  # verdicts that end the run, its state saved


@torch.no_grad()
def examine(model: TrainedModel, held: Batch, update: int, updates: int, config: CheckupConfig, device: torch.device) -> Health:
    """The verdict at an update. Every rank computes the same on the same windows, so that none waits for another."""
    model.eval()
    vitals = functools.reduce(merge, (_vitals(model, chunk.to(device)) for chunk in held.frames.split(_CHUNK)))
    model.train()
    return diagnose(vitals, config, update=update, updates=updates, fps=model.fps, tubelet_size=model.tubelet_size)


def forecasts_within(model: WorldModel, pixels: Tensor) -> Tensor:
    """What is forecast of a window from every context that ends in it: [B, T, 3, H, W] -> [B, T/f, max_steps, N, D].

    Row t, horizon k is of step t+k after a context of t+1 latent steps; zeros where t+k lies beyond the window.
    """
    if isinstance(model, FrameWise):
        return model.forecast_all(pixels)
    f = model.tubelet_size
    steps = pixels.shape[1] // f
    forecasts = pixels.new_zeros(len(pixels), steps, model.max_steps, *model.latent_shape)
    for seen in range(1, steps):
        ahead = min(model.max_steps, steps - seen)
        forecasts[:, seen - 1, :ahead] = model.forecast(pixels[:, : seen * f], ahead)
    return forecasts


def _vitals(model: WorldModel, frames: Tensor) -> Vitals:
    pixels = model.normalise(frames)
    latents, forecasts = model.encode(pixels).float(), forecasts_within(model, pixels).float()
    if not (latents.isfinite().all() and forecasts.isfinite().all()):
        raise NotFiniteError(
            "latents or forecasts of held-out windows are NaN or infinite: training has diverged. The last checkpoint is from "
            "before; lower optim.lr or optim.clip_norm"
        )
    return measure(latents, forecasts)
