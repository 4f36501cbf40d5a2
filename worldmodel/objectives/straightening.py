"""Temporal straightening (Wang et al. 2026): the latents of a clip follow a straight line."""

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

SPEED_EPSILON = 1e-8  # added to squared speeds, so that latents at rest have curvature 1 and a finite gradient


class StraighteningConfig(ObjectiveBase):
    """Curvature: 1 - cos of the angle between successive changes of a latent. Does not prevent collapse."""

    kind: Literal["straightening"] = "straightening"
    weight: float = Field(0.1, gt=0)
    """weight of this objective in the loss"""

    def check(self, batch: BatchSizes) -> list[str]:
        if problems := dropped_token_problems(batch):
            return problems
        if batch.steps < 3:
            return [f" compares two successive changes, which needs 3 latent steps; the encoder sees {batch.steps}"]
        return []


def curvature(latents: Tensor) -> Tensor:
    """1 - cos(z[t+1] - z[t], z[t+2] - z[t+1]): [B, T, N, D] -> [B, T-2, N], from 0 (straight on) to 2 (reversal)."""
    change = latents[:, 1:] - latents[:, :-1]
    before, after = change[:, :-1], change[:, 1:]
    speeds = (before.square().sum(-1) + SPEED_EPSILON) * (after.square().sum(-1) + SPEED_EPSILON)
    return 1 - (before * after).sum(-1) / speeds.sqrt()


class Straightening(Objective):
    def __init__(self, config: StraighteningConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Summed curvature and its count, where a spatial token has three latents in a row."""
        context, mask = at_least_float32(latents.context), latents.context_mask
        all_three = (mask[:, :-2] & mask[:, 1:-1] & mask[:, 2:]).to(context.dtype)
        return {"curvature": (curvature(context) * all_three).sum(), "count": all_three.sum()}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        return {"curvature": self.config.weight * totals["curvature"] / totals["count"].clamp(min=1)}
