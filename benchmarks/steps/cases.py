"""Sizes of the V-JEPA steps that benchmarks/step.py measures, and a random batch of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldmodel.data.window_config import WindowConfig
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig
from worldmodel.models.masks import sample_views
from worldmodel.models.video_encoder import VideoEncoderConfig

STEP_SEED = 3  # of the masks


@dataclass(frozen=True)
class Case:
    """A V-JEPA model, its window and the number of clips."""

    name: str
    model: MaskedConfig
    window: WindowConfig
    batch: int

    def title(self) -> str:
        """Name, frames x pixels, and batch."""
        return f"{self.name}, {self.window.frames} x {self.window.size_px} px, batch {self.batch}"


@dataclass(frozen=True)
class Clips:
    """One batch: normalised frames, ids of the windows, and the token indices of each mask."""

    frames: Tensor  # float [B, T, 3, H, W]
    ids: Tensor  # int64 [B]
    visible: tuple[Tensor, ...]  # [B, K] int64 of each mask
    masked: tuple[Tensor, ...]  # [B, M] int64 of each mask


def vjepa(width: int, heads: int) -> MaskedConfig:
    """A ViT of 12 blocks and a predictor of half its width and 4 blocks; the two masks of the paper."""
    return MaskedConfig(
        encoder=VideoEncoderConfig(width=width, depth=12, heads=heads),
        predictor=MaskPredictorConfig(width=width // 2, depth=4, heads=heads),
        tiled_rotary=True,  # as in the published code, so that all contenders compute the same loss
    )


def case_of(name: str, width: int, heads: int, size_px: int, batch: int, frames: int = 16) -> Case:
    return Case(name, vjepa(width, heads), WindowConfig(frames=frames, fps=4, size_px=size_px), batch)


CASES = {
    "tiny128": case_of("tiny", 192, 3, 128, 4),
    "tiny64": case_of("tiny", 192, 3, 64, 8),
    "small224": case_of("small", 384, 6, 224, 1),
}


def resized(case: Case, frames: int | None = None, size_px: int | None = None, width: int | None = None) -> Case:
    """The same case with another number of frames, another size or another width (heads of the same width)."""
    e = case.model.encoder
    model = case.model if width is None else vjepa(width, width * e.heads // e.width)
    window = case.window.model_copy(update={"frames": frames or case.window.frames, "size_px": size_px or case.window.size_px})
    return replace(case, model=model, window=window)


def random_clips(case: Case) -> Clips:
    """Draw random frames, and the masks that a MaskedWorldModel uses for them at STEP_SEED."""
    w, e = case.window, case.model.encoder
    source = torch.Generator().manual_seed(1)
    frames = torch.randn(case.batch, w.frames, 3, w.size_px, w.size_px, generator=source)
    ids = torch.arange(case.batch)
    views = sample_views(case.model.masks, ids.tolist(), STEP_SEED, w.frames // e.tubelet_size, w.size_px // e.patch_px)
    return Clips(frames, ids, tuple(view.visible for view in views), tuple(view.masked for view in views))
