"""Frame encoder of the causal family. A latent depends on the frames of its own tubelet only, so it cannot leak the future."""

from __future__ import annotations

import torch
from einops import rearrange
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.blocks.layers import Blocks, init_linear


class EncoderConfig(Config):
    """A small vision transformer that sees one frame (or tubelet of frames) at a time (Dosovitskiy et al. 2021)."""

    patch_px: PositiveInt = 16
    """side of the square patches that a frame is cut into"""
    tubelet_size: PositiveInt = 1
    """frames in a tubelet, which share a latent; 1 = every frame has its own latent"""
    width: PositiveInt = 64
    """features of a patch inside the transformer"""
    depth: NonNegativeInt = 1
    """transformer blocks; 0 = patches do not attend to one another"""
    heads: PositiveInt = 4
    """number of attention heads, among which `width` is divided"""
    mlp_ratio: float = Field(4.0, gt=0)
    """width inside the MLP of a block, in multiples of `width`"""
    latent_grid: PositiveInt = 1
    """N is its square: 1 = one token per frame, size/patch = one per patch"""
    latent_dim: PositiveInt = 32
    """D: features of a spatial token"""
    linear_dim: NonNegativeInt = 0
    """how many of the latent_dim features are a linear map of the token's pixels"""
    head_width: PositiveInt = 256
    """hidden width of the MLP from the patches of a token to its latent"""

    @model_validator(mode="after")
    def _check(self) -> EncoderConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        if self.linear_dim >= self.latent_dim:
            raise ValueError(
                f"linear_dim {self.linear_dim} must be below latent_dim {self.latent_dim}; the transformer has the rest"
            )
        return self


class FrameEncoder(nn.Module):
    """[B, T, 3, H, W] -> [B, T/f, N, D]. A latent depends on the f frames of its own tubelet only."""

    def __init__(self, config: EncoderConfig, size_px: int, checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.grid = size_px // config.patch_px
        side = config.latent_grid
        if size_px % config.patch_px or self.grid % side:
            raise ValueError(
                f"frames of {size_px} px cannot be divided into patches of {config.patch_px} px and {side} x {side} tokens "
                "of equally many patches"
            )
        patch_dim = 3 * config.tubelet_size * config.patch_px**2
        self.patch = nn.Linear(patch_dim, config.width)
        self.position = nn.Parameter(torch.empty(self.grid**2, config.width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = Blocks(config.depth, config.width, config.heads, config.mlp_ratio, checkpointing)
        self.norm = nn.LayerNorm(config.width)
        patches_per_token = (self.grid // side) ** 2
        self.head = nn.Sequential(
            nn.Linear(patches_per_token * config.width, config.head_width),
            nn.GELU(),
            nn.Linear(config.head_width, config.latent_dim - config.linear_dim),
        )
        self.linear = nn.Linear(patches_per_token * patch_dim, config.linear_dim) if config.linear_dim else None
        init_linear(self.patch)

    def forward(self, frames: Tensor) -> Tensor:
        c, batch, device = self.config, frames.shape[0], frames.device.type
        # Under autocast two linear layers take the patches; they are converted once, before the copy into patches.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.position.dtype
        patches = rearrange(
            frames.to(dtype),
            "b (t f) c (gh ph) (gw pw) -> (b t) (gh gw) (f c ph pw)",
            f=c.tubelet_size, ph=c.patch_px, pw=c.patch_px,
        )  # fmt: skip
        latents = self.head(self._merge_patches(self.norm(self.blocks(self.patch(patches) + self.position))))
        if self.linear is not None:
            latents = torch.cat((latents, self.linear(self._merge_patches(patches))), dim=-1)
        return rearrange(latents, "(b t) n d -> b t n d", b=batch)

    def _merge_patches(self, patches: Tensor) -> Tensor:
        """Concatenate the patches of each token: [M, gh*gw, W] -> [M, N, W * patches per token]."""
        side = self.config.latent_grid
        inner = self.grid // side
        return rearrange(patches, "m (nh ph nw pw) w -> m (nh nw) (ph pw w)", nh=side, nw=side, ph=inner, pw=inner)
