"""Find the training frames nearest to predicted latents: is a prediction memorised training data?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from worldmodel.data.loader import open_windows, read_fixed_batch
from worldmodel.models.world_model import WorldModel
from worldmodel.recipe import Recipe
from worldmodel.rollouts.decoder_fitting import encode_windows

MAX_WINDOWS = 64  # training windows that are searched


@dataclass(frozen=True)
class TrainingFrames:
    """Latent steps of some training windows, and the frames that they encode."""

    latents: Tensor  # [M, N, D]
    frames: np.ndarray  # uint8 [M, f, S, S, 3]
    windows: int
    total_windows: int  # of the training split


def training_frames(model: WorldModel, recipe: Recipe, device: torch.device) -> TrainingFrames:
    """Encode the first training windows in the run's order. Raises ManifestError and DataError if they are missing."""
    data = recipe.data.model_copy(update={"workers": 0})  # starting workers would take longer than reading so few windows
    windows = open_windows(data, recipe.window, recipe.seed, crops=False)[0]
    videos = read_fixed_batch(windows, min(MAX_WINDOWS, len(windows))).frames
    latents = rearrange(encode_windows(model, videos, device), "b t n d -> (b t) n d")
    frames = rearrange(videos.numpy(), "b (t f) h w c -> (b t) f h w c", f=model.tubelet_size)
    return TrainingFrames(latents, frames, len(videos), len(windows))


def nearest_latents(latents: Tensor, bank: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Find the nearest of `bank` [M, N, D] to each of [T, N, D]: indices int64 [T], distances (mean over tokens) [T]."""
    distances = torch.stack([distance(latent.expand_as(bank), bank).mean(dim=-1) for latent in latents])  # one step at a time
    best = distances.min(dim=1)
    return best.indices, best.values


def nearest_frames(model: WorldModel, train: TrainingFrames, prediction: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The training frames nearest to each step of latents [1, T/f, N, D]: uint8 [T, S, S, 3], and their distances [T/f]."""
    index, distance = nearest_latents(prediction[0].cpu().float(), train.latents.float(), model.distance)
    return train.frames[index.numpy()].reshape(-1, *train.frames.shape[2:]), distance.numpy()
