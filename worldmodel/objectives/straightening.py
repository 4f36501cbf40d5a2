"""Temporal straightening (Wang et al. 2026): latents of a clip move on straight lines."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import Centers, Objective, ObjectiveBase, Sums, Terms, Update
from worldmodel.objectives.statistics import precise

SPEED_EPSILON = 1e-8  # added to squared speeds: what stands still turns by a right angle, without a gradient that explodes


class StraighteningConfig(ObjectiveBase):
    """1 - cos of the angle between successive changes of a latent: their curvature. Says nothing against collapse."""

    kind: Literal["straightening"] = "straightening"
    weight: float = Field(0.1, gt=0)  # of this objective in the loss

    def check(self, update: Update) -> list[str]:
        if update.steps < 3:
            return [f" compares two changes, which takes 3 latent steps; {update.steps} are seen"]
        return []


def turn(latents: Tensor) -> Tensor:
    """1 - cos(z[t+1] - z[t], z[t+2] - z[t+1]): [B, T, N, D] -> [B, T-2, N], 0 (straight on) to 2 (back)."""
    change = latents[:, 1:] - latents[:, :-1]
    before, after = change[:, :-1], change[:, 1:]
    speeds = (before.square().sum(-1) + SPEED_EPSILON) * (after.square().sum(-1) + SPEED_EPSILON)
    return 1 - (before * after).sum(-1) / speeds.sqrt()


class Straightening(Objective):
    def __init__(self, config: StraighteningConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Turns, and how many, over all places with three latents in a row."""
        context, mask = precise(latents.context), latents.context_mask
        seen = (mask[:, :-2] & mask[:, 1:-1] & mask[:, 2:]).to(context.dtype)
        return {"turn": (turn(context) * seen).sum(), "count": seen.sum()}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        return {"turn": self.config.weight * totals["turn"] / totals["count"].clamp(min=1)}
