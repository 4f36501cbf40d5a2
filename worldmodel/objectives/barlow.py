"""Barlow Twins (Zbontar et al. 2021), with forecast and target as the two views, over the whole global batch."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import Centers, Objective, ObjectiveBase, Sums, Terms, Update
from worldmodel.objectives.statistics import precise
from worldmodel.objectives.vicreg import mean_squared_offdiagonal

VARIANCE_EPSILON = 1e-5  # that of the published code, whose views pass through a batch norm


class BarlowTwinsConfig(ObjectiveBase):
    """Each feature of a forecast correlates with the same feature of what came, and with no other (eq. 1-2).

    Means over features and over pairs of them rather than sums, so that weights mean the same whatever the number D of
    features: the published sum is D times ours with `redundancy_weight` = lambda (D - 1); 41 for lambda 0.005, D 8192.
    Correlations do not see how much latents vary, and a forecast error would have it vanish (also of normalised latents, which
    may all lie close together): add what holds it, for example {kind: vicreg, cov_weight: 0}.
    """

    kind: Literal["barlow"] = "barlow"
    weight: float = Field(2.0, gt=0)  # of this objective in the loss
    redundancy_weight: NonNegativeFloat = 40.0  # of correlations of different features, within `weight`

    @property
    def keeps_apart(self) -> bool:
        return True

    def check(self, update: Update) -> list[str]:
        return [] if update.target_features > 1 else [" correlates different features, but the latents have 1"]


def cross_correlation(totals: Sums) -> Tensor:
    """Pooled over places, forecasts and targets of each place about their own mean: [D, D], row = feature of the forecast."""
    count, predicted, target = totals["count"].clamp(min=1)[:, None], totals["predicted"], totals["target"]
    covariance = totals["gram"] - torch.einsum("nd,ne->de", predicted / count, target)
    scales = [
        ((totals[f"{name}_squares"] - (total.square() / count).sum(0)).clamp(min=0) / count.sum() + VARIANCE_EPSILON).sqrt()
        for name, total in (("predicted", predicted), ("target", target))
    ]
    return covariance / count.sum() / torch.outer(*scales)


class BarlowTwins(Objective):
    def __init__(self, config: BarlowTwinsConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Moments of forecasts and targets, rows [R, D]."""
        place = latents.place
        predicted = precise(latents.predicted) - centers.predicted[place]
        target = precise(latents.target) - centers.target[place]
        none = torch.zeros_like(centers.target)
        return {
            "count": none[:, 0].index_add(0, place, torch.ones_like(target[:, 0])),  # [N]
            "predicted": none.index_add(0, place, predicted),  # [N, D]
            "target": none.index_add(0, place, target),
            "predicted_squares": predicted.square().sum(0),  # [D]
            "target_squares": target.square().sum(0),
            "gram": predicted.T @ target,  # [D, D]
        }

    def value(self, totals: dict[str, Tensor]) -> Terms:
        c, correlation = self.config, cross_correlation(totals)
        return {
            "invariance": c.weight * (1 - correlation.diagonal()).square().mean(),
            "redundancy": c.weight * c.redundancy_weight * mean_squared_offdiagonal(correlation),
        }
