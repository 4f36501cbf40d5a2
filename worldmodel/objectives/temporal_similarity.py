"""Temporal similarity: latents change little from one moment to the next (PLDM, Sobal et al. 2025; EB-JEPA)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import Centers, Objective, ObjectiveBase, Sums, Terms, Update
from worldmodel.objectives.statistics import precise


class TemporalSimilarityConfig(ObjectiveBase):
    """Mean squared change of a feature in one latent step. By itself it asks for collapse."""

    kind: Literal["temporal_similarity"] = "temporal_similarity"
    weight: float = Field(1.0, gt=0)  # in the loss; published beside an error of weight 1: PLDM 0.1 to 0.74, EB-JEPA 12

    def check(self, update: Update) -> list[str]:
        return [] if update.steps > 1 else [" compares successive moments, but 1 latent step is seen"]


class TemporalSimilarity(Objective):
    def __init__(self, config: TemporalSimilarityConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Squared changes, mean over features, and how many, over all places with two latents in a row."""
        context, mask = precise(latents.context), latents.context_mask
        seen = (mask[:, :-1] & mask[:, 1:]).to(context.dtype)
        change = (context[:, 1:] - context[:, :-1]).square().mean(-1)
        return {"change": (change * seen).sum(), "count": seen.sum()}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        return {"change": self.config.weight * totals["change"] / totals["count"].clamp(min=1)}
