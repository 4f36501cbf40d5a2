"""A frozen encoder of another model, of single frames: a predictor is trained on its latents (V-JEPA 2-AC, DINO-WM).

Encoders of clips get every frame as a still clip (Assran et al. 2025, section 3.1), so a latent depends on its own frame only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from torch import Tensor, nn

from worldmodel.config import Config, ConfigError
from worldmodel.models.encoder import EncoderConfig, FrameEncoder
from worldmodel.models.pretrained.dino import DinoFrames, dino_config, field_problems
from worldmodel.models.pretrained.from_transformers import without_origin
from worldmodel.models.pretrained.videomae_encoder import ClipEncoder, ClipEncoderConfig
from worldmodel.models.video_encoder import VideoEncoder, VideoEncoderConfig


# --- the network ------------------------------------------------------------------------------------------------------
class DinoNetwork(Config):
    """A DINOv2 or DINOv3. Its positions fit any size in whole patches."""

    kind: Literal["dino"] = "dino"
    config: dict[str, Any]
    """config.json of transformers"""

    @field_validator("config")
    @classmethod
    def _check(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Refuse what `load_dino` refuses: a recipe may come with a checkpoint of others. Earlier versions stored its path."""
        missing = [f"{name} is missing" for name in ("hidden_size", "patch_size") if name not in fields]
        if problems := [*missing, *field_problems(fields)]:
            raise ValueError("\n".join(problems))
        return without_origin(fields)

    def sizes(self, size_px: int) -> EncoderConfig:
        patch = self.config["patch_size"]
        return _sizes(patch, size_px // patch, self.config["hidden_size"])

    def build(self, size_px: int) -> nn.Module:
        """Raise ConfigError if transformers cannot build this model."""
        try:
            return DinoFrames(dino_config(self.config), size_px)
        except ImportError as error:
            raise ConfigError([f"a DINO encoder needs the extra `hf`: pip install 'worldmodel[hf]' ({error})"]) from None
        except Exception as error:  # transformers has errors of its own, and other ones in each major version
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ConfigError(
                [f"model.frozen_encoder.network.config does not describe a valid model ({type(error).__name__}: {reason})"]
            ) from error


class TubeletNetwork(Config):
    """The encoder of a V-JEPA 2, or of a run of kind masked. Its positions are rotary, so they fit any size."""

    kind: Literal["tubelets"] = "tubelets"
    encoder: VideoEncoderConfig
    tiled_rotary: bool
    """rotary frequencies laid out as in the released V-JEPA 2 weights"""

    def sizes(self, size_px: int) -> EncoderConfig:
        return _sizes(self.encoder.patch_px, size_px // self.encoder.patch_px, self.encoder.width)

    def build(self, size_px: int) -> nn.Module:
        return VideoEncoder(self.encoder, self.tiled_rotary)


class ClipNetwork(Config):
    """A VideoMAE or VideoMAE v2. Its positions fit one size."""

    kind: Literal["videomae"] = "videomae"
    encoder: ClipEncoderConfig

    def sizes(self, size_px: int) -> EncoderConfig:
        _check_size(size_px, self.encoder.grid_px)
        return _sizes(self.encoder.patch_px, size_px // self.encoder.patch_px, self.encoder.width)

    def build(self, size_px: int) -> nn.Module:
        return ClipEncoder(self.encoder)


class FrameNetwork(Config):
    """The encoder of a run of kind causal. Its positions fit one size."""

    kind: Literal["frames"] = "frames"
    encoder: EncoderConfig
    size_px: PositiveInt
    """side of the frames that it was trained on"""
    normalise_latents: bool
    """LayerNorm without weights on every latent"""

    def sizes(self, size_px: int) -> EncoderConfig:
        _check_size(size_px, self.size_px)
        return _sizes(self.encoder.patch_px, self.encoder.latent_grid, self.encoder.latent_dim)

    def build(self, size_px: int) -> nn.Module:
        return FrameEncoder(self.encoder, size_px)


Network = Annotated[DinoNetwork | TubeletNetwork | ClipNetwork | FrameNetwork, Field(discriminator="kind")]


class FrozenEncoderConfig(Config):
    """Latents come from the encoder of another model, which is not trained; only the predictor is."""

    source: str
    """a run folder or checkpoint; or hf:FOLDER or hf:OWNER/NAME of a V-JEPA 2, DINOv2, DINOv3, VideoMAE or VideoMAE v2"""
    frames_at_once: PositiveInt = 1
    """frames that are encoded together; 1 makes latents the same bit for bit in every batch, more is faster on GPUs"""
    cache: str | None = None
    """folder in which latents are stored when they are first computed, and from which they are read when the frame comes
    again, also in other runs with this encoder; null = computed in every training step. It may be deleted at any time"""
    cache_gb: PositiveFloat = 20.0
    """limit of the latents of this encoder in the folder, in GB, of all processes of a run together; beyond it, none are
    stored"""
    network: Network | None = None
    """architecture of that encoder; filled in when training starts, so that `source` is not needed later"""


def _sizes(patch_px: int, latent_grid: int, latent_dim: int) -> EncoderConfig:
    """The sizes of latents, where those of a trained encoder stand in a recipe."""
    return EncoderConfig(patch_px=patch_px, tubelet_size=1, latent_grid=latent_grid, latent_dim=latent_dim)


def _check_size(given: int, needed: int) -> None:
    if given != needed:
        raise ValueError(f"window.size_px is {given}; the positions of the frozen encoder fit {needed} only")


# --- the module -------------------------------------------------------------------------------------------------------
class FrozenEncoder(nn.Module):
    """[B, T, 3, H, W] -> [B, T, N, D] in float32, each frame by itself. It has no gradient, and no dropout in training."""

    def __init__(self, config: FrozenEncoderConfig, size_px: int) -> None:
        super().__init__()
        if config.network is None:
            raise ValueError(
                "model.frozen_encoder.network is missing; worldmodel.training.frozen_encoder reads it from its source"
            )
        self.config, self.network = config, config.network
        self.net = self.network.build(size_px).requires_grad_(False).eval()
        self.cache: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor] | None = None  # in training, see TargetCache

    @property
    def blocks(self) -> Any:
        raise TypeError("a frozen encoder has no blocks that are trained; FSDP2 and estimates refuse it in the recipe")

    def train(self, mode: bool = True) -> FrozenEncoder:
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        flat = frames.flatten(0, 1)
        latents = self._encode_in_parts(flat) if self.cache is None else self.cache(flat, self._encode_in_parts)
        return latents.unflatten(0, frames.shape[:2])

    def _encode_in_parts(self, frames: Tensor) -> Tensor:
        """[M, 3, H, W] -> [M, N, D]. All parts have the same size, since another one would change the last bits."""
        parts, size = list(frames.split(self.config.frames_at_once)), self.config.frames_at_once
        if missing := size - len(parts[-1]):
            parts[-1] = torch.cat((parts[-1], frames[:1].expand(missing, -1, -1, -1)))
        return torch.cat([self._encode(part) for part in parts])[: len(frames)]

    def _encode(self, frames: Tensor) -> Tensor:
        if isinstance(self.network, DinoNetwork):
            assert isinstance(self.net, DinoFrames)
            return self.net.encode(frames[None])[0].float()
        still = repeat(frames, "m c h w -> m f c h w", f=self.network.encoder.tubelet_size)
        latents = self.net(still).float()
        if isinstance(self.network, FrameNetwork):
            latents = rearrange(latents, "m 1 n d -> m n d")
            return F.layer_norm(latents, latents.shape[-1:]) if self.network.normalise_latents else latents
        return F.layer_norm(latents, latents.shape[-1:]) if isinstance(self.network, TubeletNetwork) else latents
