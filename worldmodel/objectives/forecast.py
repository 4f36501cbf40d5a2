"""Forecast loss: the distance between forecasts and their targets."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat

from worldmodel.models.latents import Latents
from worldmodel.models.world_model import DistanceKind, latent_distance
from worldmodel.objectives.objective import BatchSizes, Centers, Objective, ObjectiveBase, Sums, Terms
from worldmodel.process.devices import constants_like


class ForecastConfig(ObjectiveBase):
    """Mean distance between forecast and target over clips, time steps, spatial tokens and horizons.

    Targets that a pasted occluder newly covers are left out (augment.occluder_prob).

    Every recipe needs it, since the other objectives may leave the predictor untrained. With this objective alone nothing
    prevents collapse: `objectives: {forecast: {kind: forecast}}`.
    """

    kind: Literal["forecast"] = "forecast"
    distance: DistanceKind = "l2"
    """between forecast and target; must equal model.distance"""
    weight: float = Field(1.0, gt=0)
    """weight of this objective in the loss"""
    horizon_weights: tuple[NonNegativeFloat, ...] | None = None
    """one per horizon 1..K; null = every row counts the same"""
    rollout_weight: NonNegativeFloat = 1.0
    """weight of forecasts made by feeding predictions back, relative to direct ones"""

    def check(self, batch: BatchSizes) -> list[str]:
        weights = self.horizon_weights
        if weights is not None and batch.horizons is None:
            return [".horizon_weights: forecasts of this model have no horizons; remove it"]
        if weights is not None and len(weights) != batch.horizons:
            return [f".horizon_weights has {len(weights)} weights for model.predictor.horizons {batch.horizons}"]
        if weights is not None and not any(weights):
            return [".horizon_weights are all 0, so nothing would train the direct forecasts; raise at least one"]
        return []


class Forecast(Objective):
    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Weighted errors and their weights, of direct forecasts (index 0) and of rollouts (index 1): each [2]."""
        error = latent_distance(latents.predicted, latents.target, self.config.distance)
        weight = torch.ones_like(error)
        if self.config.horizon_weights is not None:
            weight = constants_like(error, self.config.horizon_weights)[
                latents.horizon.clamp(max=len(self.config.horizon_weights)) - 1
            ]
        if latents.scored is not None:
            weight = weight * latents.scored
        is_rollout = latents.is_rollout.to(error.dtype)
        kinds = torch.stack((1 - is_rollout, is_rollout))  # [2, R]
        return {"error": (kinds * (weight * error)).sum(1), "weight": (kinds * weight).sum(1)}

    def value(self, totals: Sums) -> Terms:
        direct, rollout = totals["error"] / totals["weight"].clamp(min=1e-12)
        return {"direct": self.config.weight * direct, "rollout": self.config.weight * self.config.rollout_weight * rollout}
