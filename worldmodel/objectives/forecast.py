"""How far forecasts are from what came."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat

from worldmodel.models.latents import Latents
from worldmodel.models.world_model import DistanceKind, latent_distance
from worldmodel.objectives.objective import Centers, Objective, ObjectiveBase, Sums, Terms, Update


class ForecastConfig(ObjectiveBase):
    """Mean distance of forecast and target over clips, moments, places and horizons.

    The only objective that trains the predictor for sure. A recipe with it alone ("none" against collapse) is
    `objectives: {forecast: {kind: forecast}}`.
    """

    kind: Literal["forecast"] = "forecast"
    distance: DistanceKind = "l2"  # of forecast and target, as model.distance
    weight: float = Field(1.0, gt=0)  # of this objective in the loss
    horizon_weights: tuple[NonNegativeFloat, ...] | None = None  # one per horizon 1..K; null = every row counts the same
    rollout_weight: NonNegativeFloat = 1.0  # of forecasts made by feeding predictions back

    def check(self, update: Update) -> list[str]:
        weights = self.horizon_weights
        if weights is not None and update.horizons is None:
            return [".horizon_weights: forecasts of this model have no horizons; leave it out"]
        if weights is not None and len(weights) != update.horizons:
            return [f".horizon_weights has {len(weights)} weights for model.predictor.horizons {update.horizons}"]
        if weights is not None and not any(weights):
            return [".horizon_weights are all 0, so nothing would train the direct forecasts"]
        return []


class Forecast(Objective):
    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Weighted error and weight, direct (0) and imagined (1): each [2]."""
        error = latent_distance(latents.predicted, latents.target, self.config.distance)
        weight = torch.ones_like(error)
        if self.config.horizon_weights is not None:
            weight = error.new_tensor(self.config.horizon_weights)[latents.horizon - 1]
        rolled = latents.imagined.to(error.dtype)
        kinds = torch.stack((1 - rolled, rolled))  # [2, R]
        return {"error": (kinds * (weight * error)).sum(1), "weight": (kinds * weight).sum(1)}

    def value(self, totals: Sums) -> Terms:
        direct, imagined = totals["error"] / totals["weight"].clamp(min=1e-12)
        return {"direct": self.config.weight * direct, "imagined": self.config.weight * self.config.rollout_weight * imagined}
