"""A few held-out windows in the run folder, so that a rollout can be made where the data is missing.

RUN/held_out.npz    frames, uint8 [windows, T, S, S, 3]: the first windows that the health checks look at
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldmodel.atomic import write_arrays

NAME = "held_out.npz"
MOST_WINDOWS, LEAST_WINDOWS = 16, 3  # LEAST_WINDOWS is what a rollout shows by default
MOST_BYTES = 6_000_000  # before compression


def save_held_out(run: Path, frames: Tensor) -> None:
    """Keep the first windows of uint8 [B, T, S, S, 3]: at most 16, and no more than 6 MB unless fewer than 3 would be left."""
    fit = MOST_BYTES // frames[0].numel()
    some = frames[: min(MOST_WINDOWS, max(LEAST_WINDOWS, fit))].numpy()
    run.mkdir(parents=True, exist_ok=True)
    write_arrays(run / NAME, {"frames": some}, compressed=True)


def load_held_out(run: Path) -> Tensor | None:
    """Frames uint8 [B, T, S, S, 3] as they were saved; None where there are none that can be read."""
    try:
        with np.load(run / NAME, allow_pickle=False) as file:
            return torch.from_numpy(file["frames"])
    except Exception:  # a damaged file raises errors of zipfile, zlib, struct, tokenize and numpy
        return None
