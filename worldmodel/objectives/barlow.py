"""Barlow Twins (Zbontar et al. 2021) over the global batch. The two views are forecast and target."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import BatchSizes, Centers, Objective, ObjectiveBase, Sums, Terms
from worldmodel.objectives.statistics import at_least_float32
from worldmodel.objectives.vicreg import mean_squared_offdiagonal

VARIANCE_EPSILON = 1e-5  # that of the batch norm which the published code applies to both views


class BarlowTwinsConfig(ObjectiveBase):
    """Each feature of a forecast correlates with the same feature of the target, and with no other (eq. 1-2).

    The terms are means over features and over pairs of features, not sums, so that weights mean the same for any number of
    features D. The published sum is D times this loss with `redundancy_weight` = lambda (D - 1): 41 for lambda 0.005, D 8192.
    Correlations do not depend on the scale of latents, and a forecast error makes the scale shrink (normalised latents may all
    lie close together). Add an objective that keeps the scale, for example {kind: vicreg, cov_weight: 0}.
    """

    kind: Literal["barlow"] = "barlow"
    weight: float = Field(2.0, gt=0)
    """weight of this objective in the loss"""
    redundancy_weight: NonNegativeFloat = 40.0
    """weight of correlations between different features, multiplied by `weight`"""

    @property
    def prevents_collapse(self) -> bool:
        return True

    def check(self, batch: BatchSizes) -> list[str]:
        return [] if batch.target_features > 1 else [" correlates different features, but the latents have 1"]


def cross_correlation(totals: Sums) -> Tensor:
    """Correlate forecast features (rows) with target features (columns): [D, D].

    Pooled over spatial tokens. Forecasts and targets are centred at each token.
    """
    count, predicted, target = totals["count"].clamp(min=1)[:, None], totals["predicted"], totals["target"]
    covariance = totals["gram"] - torch.einsum("nd,ne->de", predicted / count, target)
    stds = [
        ((totals[f"{name}_squares"] - (total.square() / count).sum(0)).clamp(min=0) / count.sum() + VARIANCE_EPSILON).sqrt()
        for name, total in (("predicted", predicted), ("target", target))
    ]
    return covariance / count.sum() / torch.outer(*stds)


class BarlowTwins(Objective):
    uses_row_centers = True

    def __init__(self, config: BarlowTwinsConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """First and second moments of forecasts and targets [R, D]."""
        assert centers.predicted is not None
        assert centers.target is not None
        token = latents.token
        predicted = at_least_float32(latents.predicted) - centers.predicted[token]
        target = at_least_float32(latents.target) - centers.target[token]
        zeros = torch.zeros_like(centers.target)
        return {
            "count": zeros[:, 0].index_add(0, token, torch.ones_like(target[:, 0])),  # [N]
            "predicted": zeros.index_add(0, token, predicted),  # [N, D]
            "target": zeros.index_add(0, token, target),
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
