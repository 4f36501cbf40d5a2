"""Variance and covariance regularisation (Bardes, Ponce & LeCun 2022), over the whole global batch.

The invariance term of VICReg is the forecast loss of a world model, an objective of its own.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import Centers, Objective, ObjectiveBase, Sums, Terms, Update
from worldmodel.objectives.statistics import precise

STD_EPSILON = 1e-4  # under the root: keeps the gradient finite where latents have collapsed


class VICRegConfig(ObjectiveBase):
    """Pressures against collapse. Latents are centred per place: else knowing one's position in the picture satisfies them."""

    kind: Literal["vicreg"] = "vicreg"
    std_weight: NonNegativeFloat = 25.0  # pushes each feature's standard deviation up to `margin` (eq. 1)
    cov_weight: NonNegativeFloat = 25.0  # pushes features apart (eq. 3-4, but the mean over the D(D-1) pairs, not the sum / D)
    # Asks the standard deviation of what changes within a clip (the temporal term of PLDM, Sobal et al. 2025; pooled over
    # clips, where PLDM takes each by itself: a film in which nothing moves owes nothing as long as others move enough).
    temporal_std_weight: NonNegativeFloat = 0.0
    margin: float = Field(1.0, gt=0)  # standard deviation that is enough

    @property
    def keeps_apart(self) -> bool:
        return self.std_weight > 0 or self.temporal_std_weight > 0

    def keeps_scale(self, normalised: bool) -> bool:
        return self.keeps_apart

    def check(self, update: Update) -> list[str]:
        problems = []
        if self.std_weight and update.clips * update.steps < 2:
            problems.append(".std_weight asks how latents vary, but an update has one latent step")
        if self.cov_weight and update.features < 2:
            problems.append(".cov_weight asks pairs of features, but the latents have 1; set it to 0")
        if self.temporal_std_weight and update.steps < 2:
            problems.append(".temporal_std_weight asks what changes within a clip, but 1 latent step of it is seen")
        return problems


def variance(totals: Sums) -> Tensor:
    """Unbiased covariance pooled over places, each about its own mean: [D, D].

    With Gram and sums taken about any reference, sum_n [G_n - s_n s_n' / m_n] / (M - N) for M rows over N places.
    """
    count, total = totals["count"], totals["sum"]
    between = torch.einsum("nd,ne->de", total / count.clamp(min=1)[:, None], total)
    return (totals["gram"] - between) / (count.sum() - (count > 0).sum()).clamp(min=1)


def std_shortfall(variances: Tensor, margin: float) -> Tensor:
    """Mean amount by which a feature's standard deviation falls below `margin`: [D] -> scalar."""
    return F.relu(margin - (variances.clamp(min=0) + STD_EPSILON).sqrt()).mean()


def mean_squared_offdiagonal(covariance: Tensor) -> Tensor:
    """[D, D] -> scalar; 0 where D = 1."""
    dim = len(covariance)
    off = covariance.square().sum() - covariance.diagonal().square().sum()
    return off / max(dim * (dim - 1), 1)


class VICReg(Objective):
    def __init__(self, config: VICRegConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Moments of the latents, and the squares of what changes within each clip."""
        seen = latents.context_mask[..., None].to(centers.context.dtype)  # [B, T, N, 1]
        rows = (precise(latents.context) - centers.context) * seen
        sums = {
            "count": seen.sum(dim=(0, 1, 3)),  # [N]
            "sum": rows.sum(dim=(0, 1)),  # [N, D]
            "gram": rows.flatten(0, 2).T @ rows.flatten(0, 2),  # [D, D]
        }
        if self.config.temporal_std_weight:
            moments = seen.sum(1, keepdim=True)  # [B, 1, N, 1]: in time
            change = (rows - rows.sum(1, keepdim=True) / moments.clamp(min=1)) * seen
            sums["clip_squares"] = change.square().sum(dim=(0, 1, 2))  # [D]
            sums["clip_count"] = (moments - 1).clamp(min=0).sum()
        return sums

    def value(self, totals: Sums) -> Terms:
        c, covariance = self.config, variance(totals)
        terms = {
            "std": c.std_weight * std_shortfall(covariance.diagonal(), c.margin),
            "cov": c.cov_weight * mean_squared_offdiagonal(covariance),
        }
        if c.temporal_std_weight:
            within = totals["clip_squares"] / totals["clip_count"].clamp(min=1)
            terms["clip_std"] = c.temporal_std_weight * std_shortfall(within, c.margin)
        return terms
