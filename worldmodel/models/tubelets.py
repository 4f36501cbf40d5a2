"""Pixels as targets: tubelets with their brightness and contrast taken out (He et al. 2022; VideoMAE, Tong et al. 2022)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from worldmodel.models.pixels import standardise, unstandardised
from worldmodel.models.world_model import WorldModel

_FLOOR = 1e-6  # added to standard deviations, as VideoMAE does


def normalised_tubelets(frames: Tensor, tubelet_size: int, patch_px: int) -> Tensor:
    """Each tubelet's values, of every colour less its mean and over its standard deviation in that tubelet.

    float [B, T, 3, H, W] in [0, 1] -> [B, T/f, N, f*p*p*3]; a tubelet depends on its own f frames alone.
    """
    values = _by_colour(frames, tubelet_size, patch_px)
    mean, std = _statistics(values)
    return rearrange((values - mean) / std, "b t n v c -> b t n (v c)")


def painted(tubelets: Tensor, last: Tensor, patch_px: int) -> Tensor:
    """Normalised tubelets as frames, with the brightness and contrast that the frames `last` have at each place.

    [B, T, N, f*p*p*3], float [B, f, 3, H, W] in [0, 1] -> [B, T*f, 3, H, W] in [0, 1].
    """
    f, rows = last.shape[1], last.shape[-1] // patch_px
    mean, std = _statistics(_by_colour(last, f, patch_px))
    values = rearrange(tubelets, "b t n (v c) -> b t n v c", c=3) * std + mean
    return rearrange(
        values, "b t (gh gw) (f ph pw) c -> b (t f) c (gh ph) (gw pw)", f=f, gh=rows, ph=patch_px, pw=patch_px
    ).clamp(0, 1)


def imagined_pixels(model: WorldModel, frames: Tensor, steps: int, patch_px: int) -> Tensor:
    """Forecasts of normalised tubelets one step ahead, each painted and seen: frames as the model wants them, [B, T, 3, H, W]
    -> [B, steps, N, f*p*p*3]."""
    imagined = []
    for _ in range(steps):
        imagined.append(model.forecast(frames[:, -model.max_context :], 1))
        last = unstandardised(frames[:, -model.tubelet_size :])
        frames = torch.cat((frames, standardise(painted(imagined[-1], last, patch_px))), dim=1)
    return torch.cat(imagined, dim=1)


def _by_colour(frames: Tensor, f: int, patch_px: int) -> Tensor:
    """[B, T, 3, H, W] -> [B, T/f, N, f*p*p, 3]."""
    return rearrange(frames, "b (t f) c (gh ph) (gw pw) -> b t (gh gw) (f ph pw) c", f=f, ph=patch_px, pw=patch_px)


def _statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.mean(-2, keepdim=True), values.std(-2, keepdim=True) + _FLOOR
