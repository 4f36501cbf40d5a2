"""V-JEPA 2-AC (Assran et al. 2025, section 3): a frozen V-JEPA 2 encoder of frames, and a predictor that takes actions.

Reads `vjepa2-ac-vitg.pt` of the original code, strictly. Its states are xyz, Euler angles xyz and gripper of a robot arm at 4
frames per second, its actions the differences between states.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.blocks.block_causal import CausalBlocks
from worldmodel.models.blocks.layers import check_heads
from worldmodel.models.blocks.rotary import grid_positions, rotary_angles, rotary_table
from worldmodel.models.pretrained.layouts import TensorPair, both
from worldmodel.models.pretrained.vjepa2 import encoder_pairs, fused_blocks, load_sections
from worldmodel.models.video_encoder import NORM_EPS, VideoEncoder, VideoEncoderConfig

FPS = 4.0
_CONDITIONS = 2  # tokens of a frame before its patches: action, state


class ActionPredictorConfig(Config):
    """Sizes of the released predictor."""

    width: PositiveInt = 1024
    depth: PositiveInt = 24
    heads: PositiveInt = 16
    action_dim: PositiveInt = 7  # also of a state

    @model_validator(mode="after")
    def _check(self) -> ActionPredictorConfig:
        check_heads(self.width, self.heads, axes=3)
        return self


class ActionPredictor(nn.Module):
    """Predicts the latents of the next frame. Attention is causal between frames and full within one."""

    def __init__(self, config: ActionPredictorConfig, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(latent_dim, config.width)
        self.action = nn.Linear(config.action_dim, config.width)
        self.state = nn.Linear(config.action_dim, config.width)
        self.extrinsics = nn.Linear(config.action_dim - 1, config.width)  # in the released file, but never used
        self.blocks = CausalBlocks(config.depth, config.width, config.heads, norm_eps=NORM_EPS)
        self.norm = nn.LayerNorm(config.width, NORM_EPS)
        self.head = nn.Linear(config.width, latent_dim)

    def forward(self, latents: Tensor, actions: Tensor, states: Tensor, grid: tuple[int, int]) -> Tensor:
        """[B, T, N, D], [B, T, A], [B, T, A] -> [B, T, N, D]: row t is the prediction of frame t+1 from frames 0..t.

        grid: rows and columns of the N tokens.
        """
        steps, tokens = latents.shape[1], _CONDITIONS + latents.shape[2]
        conditions = torch.stack((self.action(actions), self.state(states)), dim=2)
        x = torch.cat((conditions, self.embed(latents)), dim=2).flatten(1, 2)
        # the published code scales columns to the number of rows, which changes nothing for square frames
        scale = torch.tensor([1.0, 1.0, grid[0] / grid[1]], device=x.device)
        positions = (grid_positions(steps, grid, x.device) * scale).unflatten(0, (steps, -1))
        times = F.pad(positions[:, :1, :1], (0, 2)).expand(-1, _CONDITIONS, -1)  # action and state rotate in time only
        angles = rotary_angles(
            torch.cat((times, positions), dim=1).flatten(0, 1), self.config.width // self.config.heads, tiled=True
        )
        x, _ = self.blocks(x, rotary_table(angles), tokens)
        return self.head(self.norm(x.unflatten(1, (steps, tokens))[:, :, _CONDITIONS:]))


class VJEPA2AC(nn.Module):
    """The frozen encoder and the predictor."""

    def __init__(self, encoder: VideoEncoderConfig, predictor: ActionPredictorConfig) -> None:
        super().__init__()
        self.encoder = VideoEncoder(encoder, tiled_rotary=True)
        self.predictor = ActionPredictor(predictor, encoder.width)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Standardised frames [B, T, 3, H, W] -> [B, T, N, D], layer-normed. Each frame is encoded alone, as a still clip."""
        still = repeat(frames, "b t c h w -> (b t) f c h w", f=self.encoder.config.tubelet_size)
        latents = self.encoder(still)
        return rearrange(F.layer_norm(latents, latents.shape[-1:]), "(b t) n d -> b t n d", b=len(frames))

    @torch.no_grad()
    def rollout(self, frames: Tensor, actions: Tensor, states: Tensor) -> Tensor:
        """Predict the frames after the first ones by feeding predictions back.

        frames [B, C, 3, H, W]; actions and states [B, C-1+steps, A], those of frame t at row t -> [B, steps, N, D].
        """
        patch, latents, context = self.encoder.config.patch_px, self.encode(frames), frames.shape[1]
        grid = frames.shape[-2] // patch, frames.shape[-1] // patch
        for length in range(context, actions.shape[1] + 1):
            predicted = self.predictor(latents, actions[:, :length], states[:, :length], grid)[:, -1:]
            latents = torch.cat((latents, F.layer_norm(predicted, predicted.shape[-1:])), dim=1)
        return latents[:, context:]


VIT_G = VideoEncoderConfig(patch_px=16, tubelet_size=2, width=1408, depth=40, heads=22, mlp_ratio=48 / 11)


def load_vjepa2_ac(
    file: Path,
    encoder: VideoEncoderConfig = VIT_G,
    predictor: ActionPredictorConfig | None = None,
    unused: Sequence[str] = (),
) -> VJEPA2AC:
    """Load a file of the original code; the sizes, which it does not contain, are those of the released one.

    unused: keys that are ignored, such as vjepa2.UNUSED_TABLES. Raises PretrainedError that names what does not fit.
    """
    model = VJEPA2AC(encoder, predictor or ActionPredictorConfig())
    pairs = {
        "encoder": encoder_pairs("encoder", encoder),
        "predictor": list(_predictor_pairs(model.predictor.config.depth)),
    }
    model.load_state_dict(load_sections(file, pairs, model.state_dict(), unused))
    return model.eval()


def _predictor_pairs(depth: int) -> Iterator[TensorPair]:
    names = {
        "predictor_embed": "embed", "action_encoder": "action", "state_encoder": "state", "extrinsics_encoder": "extrinsics",
        "predictor_norm": "norm", "predictor_proj": "head",
    }  # fmt: skip
    for theirs, ours in names.items():
        yield from both(theirs, f"predictor.{ours}")
    yield from fused_blocks("predictor_blocks", "predictor.blocks.layers", depth)
