"""Profiles of frames, means over each row and each column, and an encoder that sees nothing else."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

_EPSILON = 1e-6  # far below the variance of a profile in which one small thing is seen
_LEAST = 1e-4  # under the root: its gradient is finite


def frame_profiles(frames: Tensor, tubelet_size: int) -> Tensor:
    """Means over each row and column of square frames, their roots normalised: [B, T, 3, S, S] -> [B, T/f, 6 f S].

    The root of what a mean exceeds the smallest of its S means by. It gives small openings more contrast beside long walls.
    """
    frames = frames.float()
    means = torch.stack((frames.mean(-1), frames.mean(-2)), dim=3)  # [B, T, 3, 2, S]
    roots = (means - means.amin(-1, keepdim=True) + _LEAST).sqrt()
    normalised = F.layer_norm(roots, roots.shape[-1:], eps=_EPSILON)
    return rearrange(normalised, "b (t f) c a s -> b t (f c a s)", f=tubelet_size)


class ProfileEncoder(nn.Module):
    """[B, T, 3, S, S] -> [B, T/f, 1, D]: the last `linear_dim` features are linear in the profiles, the others by an MLP.

    The place of a thing, of a wall or of an opening in it is a smooth function of the profiles, wherever the others are.
    Shapes, angles and which of several things has which row and column are not seen.
    """

    def __init__(self, size_px: int, tubelet_size: int, width: int, latent_dim: int, linear_dim: int) -> None:
        super().__init__()
        self.tubelet_size = tubelet_size
        inputs = 6 * tubelet_size * size_px
        self.mlp = nn.Sequential(
            nn.Linear(inputs, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, latent_dim - linear_dim),
        )
        self.linear = nn.Linear(inputs, linear_dim) if linear_dim else None

    def forward(self, frames: Tensor) -> Tensor:
        profiles = frame_profiles(frames, self.tubelet_size)
        latents: Tensor = self.mlp(profiles)
        if self.linear is not None:
            latents = torch.cat((latents, self.linear(profiles)), dim=-1)
        return latents[:, :, None]
