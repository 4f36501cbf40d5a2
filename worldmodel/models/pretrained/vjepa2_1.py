"""V-JEPA 2.1 of the original code (2603.14482): an encoder of videos and images with outputs at four depths, and its predictor.

Differences from V-JEPA 2: frequencies of rotary positions are interleaved, not tiled; rows and columns are scaled to those of
a grid of 16 x 16 tokens, time is not; a learnt vector marks videos or images; there is a norm for each of four depths, and
none after the last block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn

from worldmodel.models.blocks.layers import Blocks, Segment
from worldmodel.models.blocks.rotary import grid_positions, rotary_angles, rotary_table
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.pretrained.layouts import TensorPair, both
from worldmodel.models.pretrained.vjepa2 import fused_blocks, load_sections
from worldmodel.models.video_encoder import NORM_EPS, VideoEncoderConfig, gather_tokens

LEVELS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}  # blocks, by depth
_REFERENCE_SIDE_PX = 256  # rows and columns have the positions of a square of this side


def scaled_positions(steps: int, grid: tuple[int, int], patch_px: int, device: torch.device) -> Tensor:
    """Positions [S, 3] whose rows and columns end where those of a 256 px square do. A single row has position 0."""
    last = _REFERENCE_SIDE_PX // patch_px - 1
    scale = torch.tensor([1.0, *(last / max(1, count - 1) for count in grid)], device=device)
    return grid_positions(steps, grid, device) * scale


class Encoder(nn.Module):
    """Frames [B, T, 3, H, W] -> tokens [B, S, W], ordered by time, row, column. One frame is an image."""

    def __init__(self, config: VideoEncoderConfig, levels: Sequence[int]) -> None:
        super().__init__()
        pixels = 3 * config.patch_px**2
        self.config, self.levels = config, tuple(levels)
        self.patch = nn.Linear(config.tubelet_size * pixels, config.width)
        self.patch_image = nn.Linear(pixels, config.width)
        self.video = nn.Parameter(torch.zeros(config.width))
        self.image = nn.Parameter(torch.zeros(config.width))
        self.blocks = Blocks(config.depth, config.width, config.heads, config.mlp_ratio, norm_eps=NORM_EPS)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width, NORM_EPS) for _ in levels)

    def forward(self, frames: Tensor, visible: Tensor | None = None) -> list[Tensor]:
        """The normed outputs at each of the levels; the last one is the output of the encoder. visible: [B, K] indices."""
        c, patch = self.config, self.config.patch_px
        size = 1 if frames.shape[1] == 1 else c.tubelet_size
        tubelets = rearrange(frames, "b (t f) c (gh ph) (gw pw) -> b (t gh gw) (c f ph pw)", f=size, ph=patch, pw=patch)
        x = self.patch_image(tubelets) + self.image if size == 1 else self.patch(tubelets) + self.video
        grid = frames.shape[-2] // patch, frames.shape[-1] // patch
        positions = scaled_positions(frames.shape[1] // size, grid, patch, frames.device)
        rotary = rotary_table(rotary_angles(positions, c.width // c.heads))
        if visible is not None:
            x, rotary = gather_tokens(x, visible), rotary[visible][:, None]
        found = []
        for index, block in enumerate(self.blocks.layers):
            x = block(x, rotary)
            if index in self.levels:
                found.append(self.norms[self.levels.index(index)](x))
        return found


class Predictor(nn.Module):
    """From `levels` outputs of the encoder at visible tokens to features of masked and of visible tokens.

    As in the encoder, a learnt vector marks videos or images, which cannot be told from the tokens: see `forward`.
    """

    def __init__(self, config: MaskPredictorConfig, width: int, levels: int, features: int, patch_px: int) -> None:
        super().__init__()
        self.config, self.patch_px = config, patch_px
        deep = nn.Sequential(nn.Linear(levels * width, width), nn.GELU(), nn.Linear(width, config.width))
        self.embed = nn.Linear(width, config.width) if levels == 1 else deep
        self.mask_tokens = nn.Parameter(torch.zeros(config.mask_tokens or 1, config.width))
        self.video = nn.Parameter(torch.zeros(config.width))
        self.image = nn.Parameter(torch.zeros(config.width))
        self.blocks = Blocks(config.depth, config.width, config.heads, config.mlp_ratio, norm_eps=NORM_EPS)
        self.norm = nn.LayerNorm(config.width, NORM_EPS)
        self.head = nn.Linear(config.width, features)
        self.head_visible = nn.Linear(config.width, features)

    def forward(
        self,
        context: Tensor,
        visible: Tensor,
        masked: Tensor,
        steps: int,
        grid: tuple[int, int],
        mask_token: int = 1,
        is_image: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """[B, K, levels * W], indices [B, K] and [B, M] of a clip of `steps` x `grid` tokens -> [B, M, D], [B, K, D].

        is_image: whether the encoder was given images, that is one frame each (`mod="image"` of the original code); their
        `steps` is 1. Raises ValueError for an image of several steps.
        """
        if is_image and steps != 1:
            raise ValueError(f"an image has 1 step of tokens, and steps is {steps}; omit is_image for videos")
        hidden = self.mask_tokens[mask_token].expand(*masked.shape, -1)
        x = torch.cat((self.embed(context), hidden), dim=1) + (self.image if is_image else self.video)
        positions = scaled_positions(steps, grid, self.patch_px, x.device)
        rotary = rotary_table(rotary_angles(positions, self.config.width // self.config.heads))
        count = x.shape[1]
        x = self.norm(self.blocks(x, rotary[torch.cat((visible, masked), 1)][:, None], [Segment(count, count)]))
        return self.head(x[:, visible.shape[1] :]), self.head_visible(x[:, : visible.shape[1]])


class VJEPA21(nn.Module):
    """The released pair. Distilled models (levels_in 1) predict features of another, larger encoder."""

    def __init__(
        self,
        encoder: VideoEncoderConfig,
        predictor: MaskPredictorConfig,
        features: int,
        levels: Sequence[int] | None = None,
        levels_in: int = 4,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(encoder, levels or LEVELS[encoder.depth])
        self.predictor = Predictor(predictor, encoder.width, levels_in, features, encoder.patch_px)


def load_vjepa2_1(file: Path, model: VJEPA21, section: str) -> None:
    """Load a file of the original code into a model of its sizes, which the file does not contain.

    section: of the encoder: "ema_encoder" in the files of the distilled models B and L, "target_encoder" in those of g and G.
    Raises PretrainedError that names what does not fit: the configs of the original code name more predictor blocks than the
    files of B and L have (vjepa2 #149).
    """
    pairs = {section: list(_encoder(model.encoder)), "predictor": list(_predictor(model.predictor))}
    model.load_state_dict(load_sections(file, pairs, model.state_dict()))


def _encoder(encoder: Encoder) -> Iterator[TensorPair]:
    c = encoder.config
    for theirs, ours, size in (("patch_embed", "patch", c.tubelet_size), ("patch_embed_img", "patch_image", 1)):
        patches = (c.width, 3, size, c.patch_px, c.patch_px)
        yield TensorPair(f"{theirs}.proj.weight", f"encoder.{ours}.weight", patches)
        yield TensorPair(f"{theirs}.proj.bias", f"encoder.{ours}.bias")
    yield TensorPair("video_mod_embed", "encoder.video", (1, 1, c.width))
    yield TensorPair("img_mod_embed", "encoder.image", (1, 1, c.width))
    yield from fused_blocks("blocks", "encoder.blocks.layers", c.depth)
    for level in range(len(encoder.levels)):
        yield from both(f"norms_block.{level}", f"encoder.norms.{level}")


def _predictor(predictor: Predictor) -> Iterator[TensorPair]:
    width = predictor.config.width
    for layer in ("",) if isinstance(predictor.embed, nn.Linear) else (".0", ".2"):
        yield from both(f"predictor_embed{layer}", f"predictor.embed{layer}")
    for number in range(len(predictor.mask_tokens)):
        yield TensorPair(f"mask_tokens.{number}", "predictor.mask_tokens", (1, 1, width))
    yield TensorPair("video_mod_embed", "predictor.video", (1, 1, width))
    yield TensorPair("img_mod_embed", "predictor.image", (1, 1, width))
    yield from fused_blocks("predictor_blocks", "predictor.blocks.layers", predictor.config.depth)
    for theirs, ours in (("norm", "norm"), ("proj", "head"), ("proj_context", "head_visible")):
        yield from both(f"predictor_{theirs}", f"predictor.{ours}")
