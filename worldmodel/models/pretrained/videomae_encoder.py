"""The encoder of VideoMAE and VideoMAE v2 (Tong et al. 2022; Wang et al. 2023), frozen, without the decoder.

What VideoMAE v2 changes is the training; its encoder is that of VideoMAE in other sizes (giant: patches of 14 px, MLP ratio
48/11). Released files have no bias of keys, and no table of positions, which are fixed sines.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from einops import rearrange
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.blocks.layers import Blocks, capture_outputs
from worldmodel.models.pretrained.encoder_only import EncoderOnly
from worldmodel.models.world_model import check_size

FPS = 7.5  # the models were trained on every fourth frame of videos with about 30 fps; their files do not state it


class ClipEncoderConfig(Config):
    """Sizes of an encoder; the defaults are those of ViT-B."""

    size_px: PositiveInt = 224
    """side of the frames. Positions are numbered through the clip, so another size would change their meaning"""
    patch_px: PositiveInt = 16
    """side of the square that a tubelet covers"""
    frames: PositiveInt = 16
    """largest number of frames"""
    tubelet_size: PositiveInt = 2
    """frames in a tubelet, which is one token"""
    width: PositiveInt = 768
    """features of a token, and of a latent"""
    depth: PositiveInt = 12
    """transformer blocks"""
    heads: PositiveInt = 12
    """number of attention heads, among which `width` is divided"""
    mlp_ratio: float = Field(4.0, gt=0)
    """width inside the MLP of a block, in multiples of `width`"""
    norm_eps: float = Field(1e-6, gt=0)
    """of the layer norms of the blocks"""
    final_norm_eps: float | None = Field(1e-6, gt=0)
    """of the layer norm of the output; null = no such norm, as in the VideoMAEModel of transformers"""

    @model_validator(mode="after")
    def _check(self) -> ClipEncoderConfig:
        problems = []
        if self.width % self.heads:
            problems.append(f"width {self.width} is not divisible by heads {self.heads}")
        if self.frames % self.tubelet_size or self.frames < 2 * self.tubelet_size:
            problems.append(f"frames {self.frames} is not a multiple of tubelet_size {self.tubelet_size} from two on")
        if self.size_px < self.patch_px:
            problems.append(f"size_px {self.size_px} is less than patch_px {self.patch_px}")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def tokens_per_step(self) -> int:
        return (self.size_px // self.patch_px) ** 2

    @property
    def grid_px(self) -> int:
        """Side of the square that patches cover."""
        return self.size_px // self.patch_px * self.patch_px


class ClipEncoder(nn.Module):
    """Frames [B, T, 3, H, W], T at most `frames` -> tokens [B, S, W] of the first steps, ordered by time, row, column."""

    positions: Tensor

    def __init__(self, config: ClipEncoderConfig) -> None:
        super().__init__()
        c = self.config = config
        self.patch = nn.Linear(3 * c.tubelet_size * c.patch_px**2, c.width)
        self.blocks = Blocks(c.depth, c.width, c.heads, c.mlp_ratio, norm_eps=c.norm_eps)
        self.norm: nn.Module = nn.Identity() if c.final_norm_eps is None else nn.LayerNorm(c.width, c.final_norm_eps)
        count = c.frames // c.tubelet_size * c.tokens_per_step
        self.register_buffer("positions", sines(count, c.width), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Apply the final norm to every token; released classifiers apply it to their mean."""
        normed: Tensor = self.norm(self.tokens(frames))
        return normed

    def tokens(self, frames: Tensor) -> Tensor:
        """The output of the last block, before the final norm."""
        size, patch = self.config.tubelet_size, self.config.patch_px
        tubelets = rearrange(frames, "b (t f) c (gh ph) (gw pw) -> b (t gh gw) (c f ph pw)", f=size, ph=patch, pw=patch)
        x = self.patch(tubelets)
        return self.blocks(x + self.positions[: x.shape[1]].to(x.dtype))


def sines(count: int, width: int) -> Tensor:
    """Fixed positions (Vaswani et al. 2017, section 3.5): [count, width]; even features are sines, odd ones cosines."""
    feature = torch.arange(width)
    rates = 10_000.0 ** (-2 * (feature // 2) / width)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates.double()
    return torch.where(feature % 2 == 0, angles.sin(), angles.cos()).float()


class FrozenClips(EncoderOnly):
    """Implements WorldModel and Layered. All tokens of a clip attend to one another, so a latent sees the whole clip."""

    target_scope: Literal["past", "window"] = "window"

    def __init__(self, config: ClipEncoderConfig) -> None:
        super().__init__()
        self.config, self.encoder = config, ClipEncoder(config).requires_grad_(False)
        self.fps, self.size_px, self.tubelet_size = FPS, config.grid_px, config.tubelet_size
        self.max_span = config.frames
        self.max_context = config.frames - config.tubelet_size
        self.max_horizon = config.frames // config.tubelet_size - 1

    @property
    def latent_shape(self) -> tuple[int, int]:
        return self.config.tokens_per_step, self.config.width

    @property
    def architecture(self) -> dict[str, Any]:
        return {"videomae_encoder": self.config.model_dump(mode="json")}

    def reinitialised(self) -> FrozenClips:
        return FrozenClips(self.config)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """A clip longer than the encoder takes is encoded in pieces counted from its end, so the last one is complete."""
        check_size(self, frames)
        length = self.config.frames
        first = [frames.shape[1] % length] if frames.shape[1] % length else []
        pieces = frames.split([*first, *[length] * (frames.shape[1] // length)], dim=1)
        return torch.cat([self._by_step(self.encoder(piece)) for piece in pieces], dim=1)

    def last_latent(self, context: Tensor) -> Tensor:
        return self.encode(context)[:, -1]

    @torch.no_grad()
    def layers(self, frames: Tensor) -> dict[str, Tensor]:
        check_size(self, frames)
        blocks = self.encoder.blocks.layers
        with capture_outputs({"patches": self.encoder.patch, **{f"block {i}": b for i, b in enumerate(blocks, 1)}}) as outputs:
            last = self.encoder(frames)
        return {name: self._by_step(tokens) for name, tokens in {**outputs, "output": last}.items()}

    def _by_step(self, tokens: Tensor) -> Tensor:
        return rearrange(tokens, "b (t n) d -> b t n d", n=self.config.tokens_per_step)
