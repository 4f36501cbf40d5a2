"""Which training frame is nearest to a latent, in the model's own latents: is what was imagined remembered or made up?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from worldmodel.data.loader import held_out, open_windows
from worldmodel.models.world_model import WorldModel
from worldmodel.recipe import Recipe
from worldmodel.rollouts.decoder_fitting import encoded

WINDOWS = 64  # training windows that are searched, at most


@dataclass(frozen=True)
class TrainingFrames:
    """Latent steps of some training windows, and the frames they stand for."""

    latents: Tensor  # [M, N, D]
    frames: np.ndarray  # uint8 [M, f, S, S, 3]
    windows: int
    of: int  # windows of the training split


def training_frames(model: WorldModel, recipe: Recipe, device: torch.device) -> TrainingFrames:
    """Of the first training windows in the run's order. Raises ManifestError and DataError where they are not here."""
    data = recipe.data.model_copy(update={"workers": 0})  # so few that starting workers would take longer
    windows = open_windows(data, recipe.window, recipe.seed, crops=False)[0]
    films = held_out(windows, min(WINDOWS, len(windows))).frames
    latents = rearrange(encoded(model, films, device), "b t n d -> (b t) n d")
    frames = rearrange(films.numpy(), "b (t f) h w c -> (b t) f h w c", f=model.tubelet_size)
    return TrainingFrames(latents, frames, len(films), len(windows))


def nearest(latents: Tensor, bank: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """[T, N, D] among [M, N, D] -> which of M, int64 [T], and how far, the mean over places [T]. One step at a time."""
    apart = torch.stack([distance(latent.expand_as(bank), bank).mean(dim=-1) for latent in latents])
    best = apart.min(dim=1)
    return best.indices, best.values
