"""Steps between two moments of an episode, as a distance between their latents: the cost of a planner."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.models.latents import Latents, LatentSizes
from worldmodel.objectives.objective import BatchSizes, Centers, Objective, ObjectiveBase, Sums, Terms
from worldmodel.objectives.statistics import at_least_float32

_EPSILON = 1e-6  # under the root: the gradient of a distance of 0 is finite


class StepsToGoConfig(ObjectiveBase):
    """Distance between latents that predicts how many steps lie between them at least.

    An MLP maps latents to points; the distance of two points is regressed to the number of steps between
    their moments, by the expectile loss (Newey and Powell 1987). With a small expectile an estimate that
    is too large costs more than one that is too small, so the shortest way that was seen counts. A
    distance obeys the triangle inequality, so it also bounds ways that were not seen. With `groups` above 1
    it is the sum of Euclidean distances in so many subspaces. Ways around obstacles need that: where two
    rooms meet in a door, the way is the distance to the door within one room plus that within the other,
    which no single Euclidean distance is.
    """

    kind: Literal["steps_to_go"] = "steps_to_go"
    weight: float = Field(1.0, gt=0)
    """weight in the loss"""
    expectile: float = Field(0.05, gt=0, lt=1)
    """0.5 = the mean number of steps; towards 0 = the smallest"""
    pairs: PositiveInt = 60
    """pairs of moments per clip and training step, besides all neighbours"""
    width: PositiveInt = 256
    """hidden width of the MLP, which has two hidden layers"""
    points: PositiveInt = 32
    """numbers of a point, of all groups together"""
    groups: PositiveInt = 1
    """subspaces whose Euclidean distances are added"""

    @model_validator(mode="after")
    def _check_groups(self) -> StepsToGoConfig:
        if self.points % self.groups:
            raise ValueError(f"points {self.points} is not divisible by groups {self.groups}")
        return self

    def check(self, batch: BatchSizes) -> list[str]:
        if batch.horizons is None:
            return [" needs the latents of all time steps, which models of kind masked hide; use kind causal"]
        return [] if batch.steps > 1 else [" compares time steps, but the encoder sees 1 latent step"]


class StepsToGo(Objective):
    def __init__(self, config: StepsToGoConfig, sizes: LatentSizes) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.head = nn.Sequential(
            nn.Linear(sizes.tokens * sizes.features, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, config.points),
        )

    def forward(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Steps between latents [..., N, D] and [..., N, D]: [...]. The leading axes broadcast."""
        return self._distance(self.head(latents.flatten(-2)), self.head(goal.flatten(-2)))

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Weighted squared errors in units of the root of the number of steps, of distant moments and of neighbours."""
        return self.sums_of(at_least_float32(latents.context), latents.step_seed)

    def sums_of(self, context: Tensor, step_seed: int) -> Sums:
        """The same of latents [B, T, N, D]."""
        points = self.head(context.flatten(2))  # [B, T, P]
        first, last = self._pairs(points.shape[1], step_seed)
        far = self._errors(self._distance(points[:, first], points[:, last]), (last - first).to(points))
        near = self._errors(self._distance(points[:, :-1], points[:, 1:]), points.new_ones(points.shape[1] - 1))
        errors = torch.stack((far.sum(), near.sum()))
        return {"error": errors, "count": errors.new_tensor([far.numel(), near.numel()])}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        far, near = self.config.weight * totals["error"] / totals["count"].clamp(min=1)
        return {"far": far, "near": near}

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Sum over groups of Euclidean distances of points: [..., P], [..., P] -> [...]."""
        parts = (a - b).unflatten(-1, (self.config.groups, -1))
        return (parts.square().sum(-1) + _EPSILON).sqrt().sum(-1)

    def _errors(self, distance: Tensor, steps: Tensor) -> Tensor:
        """The spread of the number of steps grows like its root, as in a random walk."""
        error = (distance - steps) / steps.sqrt()
        return torch.where(error > 0, 1 - self.config.expectile, self.config.expectile) * error.square()

    def _pairs(self, steps: int, seed: int) -> tuple[Tensor, Tensor]:
        """Numbers of the first and the last moment of each pair, [pairs] each: the same for all clips of a training step."""
        generator = torch.Generator().manual_seed(seed % 2**63)
        span, share = torch.rand(2, self.config.pairs, generator=generator)
        span = (1 + span * (steps - 1)).long().clamp(max=steps - 1)  # uniform, so that long ways occur often
        first = (share * (steps - span)).long().clamp(max=steps - 2)
        first = torch.minimum(first, steps - 1 - span)
        return first, first + span
