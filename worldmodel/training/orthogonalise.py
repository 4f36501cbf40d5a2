"""Directions of Muon (Jordan 2024): momentum, then an approximately orthogonal matrix.

The numbers are those of `torch.optim.Muon` to the last bit where the device multiplies in bfloat16. Elsewhere, as on
processors with AVX2 alone, products of bfloat16 are emulated and many times slower than those of float32: torch's Muon took
more time than the rest of a training step of the demo (docs/results_time.md). There, the same iteration runs in float32.
(https://kellerjordan.github.io/posts/muon/)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worldmodel.process.devices import multiplies_bfloat16


def smoothed_gradient(gradient: Tensor, momentum: Tensor, group: dict[str, Any]) -> Tensor:
    """The gradient after momentum, which is updated. group: the parameter group of the optimizer."""
    momentum.lerp_(gradient, 1 - group["momentum"])
    return gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum


def adjusted_lr(lr: float, shape: Sequence[int]) -> float:
    """The learning rate of a matrix [rows, columns]: larger where there are more rows than columns, as in torch's default."""
    rows, columns = shape
    return lr * math.sqrt(max(1, rows / columns))


def orthogonalise(matrix: Tensor, group: dict[str, Any]) -> Tensor:
    """Bring the singular values of a matrix [rows, columns] near 1, by Newton-Schulz iterations.

    Returns bfloat16, or float32 on a device that does not multiply in bfloat16.
    """
    a, b, c = group["ns_coefficients"]
    x = matrix.to(torch.bfloat16 if multiplies_bfloat16(matrix.device) else torch.float32, copy=True)
    tall = x.size(0) > x.size(1)
    if tall:
        x = x.T
    x.div_(x.norm().clamp(min=group["eps"]))  # so that no singular value exceeds 1
    for _ in range(group["ns_steps"]):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
