"""Temporal similarity: latents change little from one time step to the next (PLDM, Sobal et al. 2025; EB-JEPA)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import (
    BatchSizes,
    Centers,
    Objective,
    ObjectiveBase,
    Sums,
    Terms,
    dropped_token_problems,
)
from worldmodel.objectives.statistics import at_least_float32


class TemporalSimilarityConfig(ObjectiveBase):
    """Mean squared change of a feature in one latent step. Without another objective it leads to collapse."""

    kind: Literal["temporal_similarity"] = "temporal_similarity"
    weight: float = Field(1.0, gt=0)
    """weight in the loss; published, relative to the error: PLDM 0.1 to 0.74, EB-JEPA 12"""

    def check(self, batch: BatchSizes) -> list[str]:
        if problems := dropped_token_problems(batch):
            return problems
        return [] if batch.steps > 1 else [" compares successive time steps, but the encoder sees 1 latent step"]


class TemporalSimilarity(Objective):
    def __init__(self, config: TemporalSimilarityConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Summed squared change (mean over features) and its count, where a spatial token has two latents in a row."""
        context, mask = at_least_float32(latents.context), latents.context_mask
        both = (mask[:, :-1] & mask[:, 1:]).to(context.dtype)
        change = (context[:, 1:] - context[:, :-1]).square().mean(-1)
        return {"change": (change * both).sum(), "count": both.sum()}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        return {"change": self.config.weight * totals["change"] / totals["count"].clamp(min=1)}
