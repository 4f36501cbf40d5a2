"""Normalised pixels as prediction targets: tubelets minus their mean, over their deviation (He et al. 2022; VideoMAE)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from worldmodel.models.pixels import standardise_, unstandardise
from worldmodel.models.world_model import WorldModel

_STD_EPSILON = 1e-6  # added to standard deviations, as VideoMAE does


def normalise_tubelets(frames: Tensor, tubelet_size: int, patch_px: int) -> Tensor:
    """Normalise the pixels of each tubelet by its own mean and standard deviation, each colour by itself.

    float [B, T, 3, H, W] in [0, 1] -> [B, T/f, N, f*p*p*3]. A tubelet depends on its own f frames only.
    """
    values = _split_tubelets(frames, tubelet_size, patch_px)
    mean, std = _mean_and_std(values)
    return rearrange((values - mean) / std, "b t n v c -> b t n (v c)")


def denormalise_tubelets(tubelets: Tensor, reference: Tensor, patch_px: int) -> Tensor:
    """Turn normalised tubelets into frames, with the mean and deviation that the frames `reference` have in each patch.

    [B, T, N, f*p*p*3], float [B, f, 3, H, W] in [0, 1] -> [B, T*f, 3, H, W] in [0, 1].
    """
    f, rows = reference.shape[1], reference.shape[-2] // patch_px
    mean, std = _mean_and_std(_split_tubelets(reference, f, patch_px))
    values = rearrange(tubelets, "b t n (v c) -> b t n v c", c=3) * std + mean
    return rearrange(
        values, "b t (gh gw) (f ph pw) c -> b (t f) c (gh ph) (gw pw)", f=f, gh=rows, ph=patch_px, pw=patch_px
    ).clamp(0, 1)


def rollout_pixels(model: WorldModel, frames: Tensor, steps: int, patch_px: int) -> Tensor:
    """Roll out a model of normalised tubelets: each one-step forecast is turned into frames and appended to the context.

    Standardised frames [B, T, 3, H, W] -> [B, steps, N, f*p*p*3].
    """
    predicted = []
    for _ in range(steps):
        predicted.append(model.forecast(frames[:, -model.max_context :], 1))
        last = unstandardise(frames[:, -model.tubelet_size :])
        frames = torch.cat((frames, standardise_(denormalise_tubelets(predicted[-1], last, patch_px))), dim=1)
    return torch.cat(predicted, dim=1)


def _split_tubelets(frames: Tensor, f: int, patch_px: int) -> Tensor:
    """[B, T, 3, H, W] -> [B, T/f, N, f*p*p, 3]."""
    return rearrange(frames, "b (t f) c (gh ph) (gw pw) -> b t (gh gw) (f ph pw) c", f=f, ph=patch_px, pw=patch_px)


def _mean_and_std(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.mean(-2, keepdim=True), values.std(-2, keepdim=True) + _STD_EPSILON
