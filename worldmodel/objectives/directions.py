"""Random directions to look at latents along."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def directions(chance: int, count: int, like: Tensor) -> Tensor:
    """Unit vectors, a column each, in the dtype and on the device of `like` [..., D] -> [D, count].

    Drawn from the update's own random number, on the CPU: the same on all ranks, micro-batches and kinds of device.
    """
    drawn = torch.randn(like.shape[-1], count, dtype=torch.float64, generator=Generator().manual_seed(chance))
    return (drawn / drawn.norm(dim=0)).to(like)
