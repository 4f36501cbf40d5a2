"""Variance and covariance regularisation (Bardes, Ponce & LeCun 2022) over the global batch.

The invariance term of VICReg is the forecast loss of a world model, which is an objective of its own.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import BatchSizes, Centers, Objective, ObjectiveBase, Sums, Terms
from worldmodel.objectives.statistics import at_least_float32

STD_EPSILON = 1e-4  # under the root: keeps the gradient finite where latents have collapsed


class VICRegConfig(ObjectiveBase):
    """Prevents collapse by variance and decorrelation of features.

    Latents are centred at each spatial token; otherwise latents that encode only their position would satisfy it.
    """

    kind: Literal["vicreg"] = "vicreg"
    std_weight: NonNegativeFloat = 25.0
    """raises each feature's standard deviation to `margin` (eq. 1)"""
    cov_weight: NonNegativeFloat = 25.0
    """decorrelates features (eq. 3-4, but the mean over the D(D-1) pairs instead of the sum / D)"""
    temporal_std_weight: NonNegativeFloat = 0.0
    """raises the standard deviation within a clip, over time (the temporal term of PLDM, Sobal et
    al. 2025). It is pooled over clips, whereas PLDM treats each clip by itself: a clip without
    motion adds no loss if others move enough"""
    temporal_features: PositiveInt | None = None
    """number of features, the first ones, for which the term over time holds; null = all. The others may
    then describe what stays the same in a clip, such as walls"""
    margin: float = Field(1.0, gt=0)
    """standard deviation above which the loss is 0"""

    @property
    def prevents_collapse(self) -> bool:
        return self.std_weight > 0 or self.temporal_std_weight > 0

    def preserves_scale(self, normalised: bool) -> bool:
        return self.prevents_collapse

    def check(self, batch: BatchSizes) -> list[str]:
        problems = []
        if self.std_weight and batch.clips * batch.steps < 2:
            problems.append(".std_weight needs at least 2 latent steps in the global batch, but there is 1")
        if self.cov_weight and batch.features < 2:
            problems.append(".cov_weight needs pairs of features, but the latents have 1; set it to 0")
        if self.temporal_std_weight and batch.steps < 2:
            problems.append(".temporal_std_weight needs at least 2 latent steps of a clip, but the encoder sees 1")
        if self.temporal_features is not None:
            if not self.temporal_std_weight:
                problems.append(f".temporal_features {self.temporal_features} has no effect without temporal_std_weight")
            if self.temporal_features > batch.features:
                problems.append(f".temporal_features {self.temporal_features}: the latents have {batch.features} features")
        return problems


def pooled_covariance(totals: Sums) -> Tensor:
    """Compute the unbiased covariance within spatial tokens, each about its own mean, pooled over them: [D, D].

    With Gram matrices G_n and sums s_n about any reference: sum_n [G_n - s_n s_n' / m_n] / (M - N), for M rows at N tokens.
    """
    count, total = totals["count"], totals["sum"]
    between = torch.einsum("nd,ne->de", total / count.clamp(min=1)[:, None], total)
    return (totals["gram"] - between) / (count.sum() - (count > 0).sum()).clamp(min=1)


def std_shortfall(variances: Tensor, margin: float) -> Tensor:
    """Mean amount by which the standard deviation of a feature is below `margin`: [D] -> scalar."""
    return F.relu(margin - (variances.clamp(min=0) + STD_EPSILON).sqrt()).mean()


def mean_squared_offdiagonal(matrix: Tensor) -> Tensor:
    """Mean square of the off-diagonal elements: [D, D] -> scalar; 0 if D = 1."""
    dim = len(matrix)
    off = matrix.square().sum() - matrix.diagonal().square().sum()
    return off / max(dim * (dim - 1), 1)


class VICReg(Objective):
    def __init__(self, config: VICRegConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Moments of the latents, and the squared deviations from the mean over time within each clip."""
        mask = latents.context_mask[..., None].to(centers.context.dtype)  # [B, T, N, 1]
        rows = (at_least_float32(latents.context) - centers.context) * mask
        sums = {
            "count": mask.sum(dim=(0, 1, 3)),  # [N]
            "sum": rows.sum(dim=(0, 1)),  # [N, D]
            "gram": rows.flatten(0, 2).T @ rows.flatten(0, 2),  # [D, D]
        }
        if self.config.temporal_std_weight:
            steps = mask.sum(1, keepdim=True)  # [B, 1, N, 1]: time steps
            deviation = (rows - rows.sum(1, keepdim=True) / steps.clamp(min=1)) * mask
            sums["temporal_squares"] = deviation.square().sum(dim=(0, 1, 2))  # [D]
            sums["temporal_count"] = (steps - 1).clamp(min=0).sum()
        return sums

    def value(self, totals: Sums) -> Terms:
        c, covariance = self.config, pooled_covariance(totals)
        terms = {
            "std": c.std_weight * std_shortfall(covariance.diagonal(), c.margin),
            "cov": c.cov_weight * mean_squared_offdiagonal(covariance),
        }
        if c.temporal_std_weight:
            within = totals["temporal_squares"][: c.temporal_features] / totals["temporal_count"].clamp(min=1)
            terms["temporal_std"] = c.temporal_std_weight * std_shortfall(within, c.margin)
        return terms
