"""Inverse dynamics: the action is predicted from the latents before and after it (PLDM, Sobal et al. 2025; EB-JEPA)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from worldmodel.models.latents import Latents, LatentSizes
from worldmodel.objectives.objective import BatchSizes, Centers, Objective, ObjectiveBase, Sums, Terms
from worldmodel.objectives.statistics import at_least_float32


class InverseDynamicsConfig(ObjectiveBase):
    """Mean squared error of the normalised action between two latent steps, predicted by an MLP.

    Latents must then hold what actions change. It does not prevent collapse of everything else.
    """

    kind: Literal["idm"] = "idm"
    weight: float = Field(1.0, gt=0)
    """weight in the loss; published, relative to the error: PLDM 1.07, EB-JEPA 1"""
    width: PositiveInt = 256
    """hidden width of the MLP, which has one hidden layer"""

    def check(self, batch: BatchSizes) -> list[str]:
        if not batch.action:
            return [" predicts actions, but the model takes none; set model.condition"]
        return [] if batch.steps > 1 else [" compares successive time steps, but the encoder sees 1 latent step"]


class InverseDynamics(Objective):
    def __init__(self, config: InverseDynamicsConfig, sizes: LatentSizes) -> None:
        super().__init__()
        self.config = config
        inputs = 2 * sizes.tokens * sizes.features
        self.head = nn.Sequential(nn.Linear(inputs, config.width), nn.GELU(), nn.Linear(config.width, sizes.action))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Predict the normalised actions between latents [..., N, D] and [..., N, D]: [..., A]."""
        return self.head(torch.cat((before.flatten(-2), after.flatten(-2)), dim=-1))

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Summed squared error (mean over the numbers of an action), and the number of actions."""
        if latents.actions is None:
            raise ValueError("the objective idm needs actions, but this batch has none")
        context = at_least_float32(latents.context)
        error = (self(context[:, :-1], context[:, 1:]) - latents.actions).square().mean(-1)
        return {"error": error.sum(), "count": torch.ones_like(error).sum()}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        return {"action": self.config.weight * totals["error"] / totals["count"].clamp(min=1)}
