"""Frame encoder of the causal family. A latent depends on the frames of its own tubelet only, so it cannot leak the future."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.blocks.layers import Blocks, init_linear
from worldmodel.models.blocks.profiles import ProfileEncoder

_SCORE_STD = 3.0  # of initial scores where pixels have variance 1: a softmax with clear winners
_FEATURE_STD = 2.0  # of initial features where coordinates have variance 1


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
    keypoints: NonNegativeInt = 0
    """number of places in the frame that the encoder learns to find, with latent_grid 1; half of the latent features
    are then linear in their coordinates (spatial softmax, Levine et al. 2016). Small moving things are found soon"""
    profiles: bool = False
    """see the means over each row and each column of a frame, and nothing else: an MLP with two hidden layers of head_width
    instead of patches and transformer. For flat scenes of a few things and walls, whose places it reads soon"""

    @model_validator(mode="after")
    def _check(self) -> EncoderConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        if self.linear_dim >= self.latent_dim:
            raise ValueError(
                f"linear_dim {self.linear_dim} must be below latent_dim {self.latent_dim}; the transformer has the rest"
            )
        if self.keypoints and (self.latent_grid > 1 or self.linear_dim >= self.latent_dim - self.latent_dim // 2):
            raise ValueError(
                "keypoints describe a whole frame: they need latent_grid 1, and linear_dim below half of latent_dim"
            )
        if self.profiles and (self.latent_grid > 1 or self.keypoints or self.depth):
            raise ValueError(
                "profiles describe a whole frame, without patches: they need latent_grid 1, keypoints 0 and depth 0"
            )
        return self


class FrameEncoder(nn.Module):
    """[B, T, 3, H, W] -> [B, T/f, N, D]. A latent depends on the f frames of its own tubelet only."""

    def __init__(self, config: EncoderConfig, size_px: int, checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.of_profiles: ProfileEncoder | None = None
        if config.profiles:  # patches are not used
            sizes = config.head_width, config.latent_dim, config.linear_dim
            self.of_profiles = ProfileEncoder(size_px, config.tubelet_size, *sizes)
            return
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
        of_keypoints = config.latent_dim // 2 if config.keypoints else 0
        self.head = nn.Sequential(
            nn.Linear(patches_per_token * config.width + 2 * config.keypoints, config.head_width),
            nn.GELU(),
            nn.Linear(config.head_width, config.latent_dim - config.linear_dim - of_keypoints),
        )
        self.linear = nn.Linear(patches_per_token * patch_dim, config.linear_dim) if config.linear_dim else None
        init_linear(self.patch)
        self.keypoints = Keypoints(config, self.grid, patch_dim, of_keypoints) if config.keypoints else None

    def forward(self, frames: Tensor, kept: Tensor | None = None) -> Tensor:
        """kept: spatial tokens [B, K] of each clip that exist, the same in all its time steps: -> [B, T/f, K, D]."""
        if self.of_profiles is not None:
            latents: Tensor = self.of_profiles(frames)
            return latents
        c, batch, device = self.config, frames.shape[0], frames.device.type
        # Under autocast two linear layers take the patches; they are converted once, before the copy into patches.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.position.dtype
        patches = rearrange(
            frames.to(dtype),
            "b (t f) c (gh ph) (gw pw) -> (b t) (gh gw) (f c ph pw)",
            f=c.tubelet_size, ph=c.patch_px, pw=c.patch_px,
        )  # fmt: skip
        positions: Tensor = self.position
        if kept is not None:
            patches, positions = self._keep(patches, kept), self._keep(self.position.expand(batch, -1, -1), kept)
            positions = positions.repeat_interleave(len(patches) // batch, 0)
        tokens = self.norm(self.blocks(self.patch(patches) + positions))
        merge = self._merge_patches if kept is None else self._merge_kept
        merged = merge(tokens)
        if self.keypoints is None:
            latents = self.head(merged)
        else:
            places = self.keypoints(patches, tokens)
            of_places = self.keypoints.latents(places)
            latents = torch.cat((of_places, self.head(torch.cat((merged, places), dim=-1))), dim=-1)
        if self.linear is not None:
            latents = torch.cat((latents, self.linear(merge(patches))), dim=-1)
        return rearrange(latents, "(b t) n d -> b t n d", b=batch)

    def _merge_patches(self, patches: Tensor) -> Tensor:
        """Concatenate the patches of each token: [M, gh*gw, W] -> [M, N, W * patches per token]."""
        side = self.config.latent_grid
        inner = self.grid // side
        return rearrange(patches, "m (nh ph nw pw) w -> m (nh nw) (ph pw w)", nh=side, nw=side, ph=inner, pw=inner)

    def _keep(self, patches: Tensor, kept: Tensor) -> Tensor:
        """Select the patches of kept tokens, token by token: [B * t, gh*gw, W], [B, K] -> [B * t, K * patches per token, W]."""
        grouped = self._merge_patches(patches)
        indices = kept.repeat_interleave(len(grouped) // len(kept), 0)[..., None].expand(-1, -1, grouped.shape[-1])
        return rearrange(grouped.gather(1, indices), "m k (p w) -> m (k p) w", w=patches.shape[-1])

    def _merge_kept(self, patches: Tensor) -> Tensor:
        """As `_merge_patches`, of patches in the order of `_keep`."""
        return rearrange(patches, "m (k p) w -> m k (p w)", p=(self.grid // self.config.latent_grid) ** 2)


class Keypoints(nn.Module):
    """Places in a frame: the mean coordinates of patches, weighted by a softmax of scores over all of them.

    Scores are linear in the pixels of a patch, so that already at the start a small bright thing outweighs an empty
    background. Each patch adds an offset within it, from its token.
    """

    def __init__(self, config: EncoderConfig, grid: int, patch_dim: int, features: int) -> None:
        super().__init__()
        self.count = config.keypoints
        self.score = nn.Linear(patch_dim, self.count)
        self.hidden = nn.Linear(config.width, config.width)
        self.offset = nn.Linear(config.width, 2 * self.count)
        self.latents = nn.Linear(2 * self.count, features)
        nn.init.normal_(self.score.weight, std=_SCORE_STD / patch_dim**0.5)
        nn.init.normal_(self.latents.weight, std=_FEATURE_STD / (2 * self.count) ** 0.5)
        axis = torch.linspace(-1, 1, grid)
        self.register_buffer("places", torch.cartesian_prod(axis, axis), persistent=False)  # [patches, 2], row and column
        self.reach = 2 / grid  # of an offset of 1: the side of a patch

    places: Tensor

    def forward(self, patches: Tensor, tokens: Tensor) -> Tensor:
        """Pixels of patches [M, P, C] and their tokens [M, P, W] -> coordinates in [-1, 1], [M, 1, 2 * count]."""
        weights = self.score(patches).softmax(dim=1).transpose(1, 2)  # [M, count, P]
        # an offset is linear in the hidden features, so these are averaged first: much less memory, the same result
        hidden = torch.bmm(weights, F.gelu(self.hidden(tokens)).to(weights.dtype))  # [M, count, W]
        of_hidden = self.offset.weight.unflatten(0, (self.count, 2))
        offsets = torch.einsum("mkw,kcw->mkc", hidden, of_hidden) + self.offset.bias.view(self.count, 2)
        return (weights @ self.places.to(weights.dtype) + offsets * self.reach).flatten(1)[:, None]
