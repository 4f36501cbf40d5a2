"""Random directions for objectives that project latents on lines (SIGReg, VISReg)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from worldmodel.process.devices import to_device


def random_directions(seed: int, count: int, like: Tensor) -> Tensor:
    """Draw unit vectors, one per column: `like` [..., D] -> [D, count], in the dtype and on the device of `like`.

    `seed` is that of the training step. Drawn on the CPU, so that all ranks, micro-batches and devices get the same vectors.
    """
    drawn = torch.randn(like.shape[-1], count, dtype=torch.float64, generator=Generator().manual_seed(seed))
    return to_device((drawn / drawn.norm(dim=0)).to(like.dtype), like.device)
