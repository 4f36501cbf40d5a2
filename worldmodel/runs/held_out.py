"""A few held-out windows in the run folder, for rollouts where the data of the run is missing.

RUN/held_out.npz    frames, uint8 [windows, T, S, S, 3]: the first windows of the health checks
                    actions, float32 [windows, T - 1, k * A]: those between the frames, of a model that takes them
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldmodel.files.atomic import write_arrays
from worldmodel.files.npz_files import load_npz

HELD_OUT_FILE = "held_out.npz"
MAX_WINDOWS, MIN_WINDOWS = 16, 3  # MIN_WINDOWS is the default number of rollouts
MAX_SAVED_BYTES = 6_000_000  # before compression
MAX_READ_BYTES = 1 << 30  # 3 windows may have more than MAX_SAVED_BYTES


def save_held_out(run: Path, frames: Tensor, actions: Tensor | None = None) -> None:
    """Save the first windows of uint8 [B, T, S, S, 3]: at most 16, and at most 6 MB unless that is less than 3 windows."""
    fit = MAX_SAVED_BYTES // frames[0].numel()
    count = min(MAX_WINDOWS, max(MIN_WINDOWS, fit))
    run.mkdir(parents=True, exist_ok=True)
    known = {} if actions is None else {"actions": actions[:count].numpy()}
    write_arrays(run / HELD_OUT_FILE, {"frames": frames[:count].numpy(), **known}, compressed=True)


def load_held_out(run: Path) -> Tensor | None:
    """Load frames uint8 [B, T, S, S, 3]; None where the file is missing or damaged."""
    frames = _array(run, "frames")
    is_frames = frames is not None and frames.dtype == np.uint8 and frames.ndim == 5 and frames.shape[-1] == 3 and frames.size
    return torch.from_numpy(frames) if is_frames else None


def load_held_out_actions(run: Path, like: tuple[int, int, int]) -> Tensor | None:
    """Load the actions float32 [B, T - 1, k * A] of this shape; None where the file has none, or is missing or damaged."""
    actions = _array(run, "actions")
    fit = actions is not None and actions.dtype == np.float32 and actions.shape == like and np.isfinite(actions).all()
    return torch.from_numpy(actions) if fit else None


def _array(run: Path, name: str) -> np.ndarray | None:
    try:
        return load_npz(run / HELD_OUT_FILE, MAX_READ_BYTES).get(name)
    except (OSError, ValueError):
        return None
