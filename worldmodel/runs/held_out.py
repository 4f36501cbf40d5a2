"""A few held-out windows in the run folder, so that a rollout can be made where the data is missing.

RUN/held_out.npz    frames, uint8 [windows, T, S, S, 3]: the first windows that the health checks look at
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldmodel.files.atomic import write_arrays
from worldmodel.files.npz_files import load_npz

NAME = "held_out.npz"
MOST_WINDOWS, LEAST_WINDOWS = 16, 3  # LEAST_WINDOWS is what a rollout shows by default
MOST_BYTES = 6_000_000  # before compression
MOST_READ = 1 << 30  # 3 windows may have more than MOST_BYTES


def save_held_out(run: Path, frames: Tensor) -> None:
    """Keep the first windows of uint8 [B, T, S, S, 3]: at most 16, and no more than 6 MB unless fewer than 3 would be left."""
    fit = MOST_BYTES // frames[0].numel()
    some = frames[: min(MOST_WINDOWS, max(LEAST_WINDOWS, fit))].numpy()
    run.mkdir(parents=True, exist_ok=True)
    write_arrays(run / NAME, {"frames": some}, compressed=True)


def load_held_out(run: Path) -> Tensor | None:
    """Frames uint8 [B, T, S, S, 3] as they were saved; None where there are none that can be read."""
    try:
        frames = load_npz(run / NAME, MOST_READ).get("frames")
    except (OSError, ValueError):
        return None
    is_frames = frames is not None and frames.dtype == np.uint8 and frames.ndim == 5 and frames.shape[-1] == 3 and frames.size
    return torch.from_numpy(frames) if is_frames else None
