"""SIGReg (Balestriero & LeCun 2025, LeJEPA): latents become standard normal along every direction, over the global batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import BatchSizes, Centers, Objective, ObjectiveBase, Sums, Terms
from worldmodel.objectives.random_directions import random_directions
from worldmodel.objectives.statistics import at_least_float32

KNOTS, LAST_KNOT = 17, 3.0  # characteristic functions are compared at 17 points of [0, 3]; they are even, so this is [-3, 3]


class SIGRegConfig(ObjectiveBase):
    """Epps-Pulley distance between the characteristic functions of the latents and of N(0, I), mean over random directions.

    Each spatial token is compared by itself, its mean included; otherwise latents that encode only their position would
    satisfy it. LeJEPA multiplies the mean by the number of samples N; `weight` here does not include N, and
    `converted_weight` turns published weights into this one. Latents that are constant within a clip satisfy it: check
    the skill against copying, and add `temporal_std_weight` of vicreg if that skill stays at 0. Needs memory for
    samples x directions numbers.
    """

    kind: Literal["sigreg"] = "sigreg"
    weight: float = Field(30.0, gt=0)
    """weight of this objective in the loss; the default is LeVJEPA's, for video"""
    directions: PositiveInt = 256
    """number of random directions that latents are projected on; new ones in every training step"""
    per_timestep: bool = False
    """compare each time step of the window by itself, over clips alone, as LeWM does"""

    @property
    def prevents_collapse(self) -> bool:
        return True

    def preserves_scale(self, normalised: bool) -> bool:
        return True

    def check(self, batch: BatchSizes) -> list[str]:
        if (batch.clips if self.per_timestep else batch.clips * batch.steps) < 2:
            return [" needs at least 2 samples of each spatial token, but has 1; raise data.batch_size"]
        return []


@dataclass(frozen=True)
class Published:
    """How a publication weights the statistic: loss = (1 - weight if shared else 1) * error + weight * statistic."""

    weight: float
    samples: int  # number N that the published statistic is computed of
    times_samples: bool  # whether the statistic is multiplied by N
    shared: bool = False  # whether the weights of error and statistic add up to 1


PUBLISHED = {
    "lejepa": Published(0.02, 256, times_samples=True, shared=True),  # its minimal example; the paper tries 0.01 to 0.1
    "lewm": Published(0.09, 128, times_samples=True),  # per_timestep
    "eb_jepa": Published(10.0, 256, times_samples=False),  # "BCS", with 10 knots
    # its flag normalize_by_n=false means that the mean is multiplied by N, here that of a micro-batch over all ranks
    "levjepa": Published(0.02, 1536, times_samples=True),
}


def converted_weight(publication: str, weight: float | None = None, samples: int | None = None) -> float:
    """Convert a published weight (default: the publication's own) into `weight`, beside a forecast loss of weight 1.

    | publication | theirs | samples N    | ours = theirs x N / weight of the error |
    |-------------|--------|--------------|-----------------------------------------|
    | lejepa      | 0.02   | 256 images   | 5.2                                     |
    | lewm        | 0.09   | 128 clips    | 11.5                                    |
    | eb_jepa     | 10     | (not scaled) | 10                                      |
    | levjepa     | 0.02   | 1,536 clips  | 30.7                                    |
    """
    source = PUBLISHED[publication]
    weight = source.weight if weight is None else weight
    factor = (samples or source.samples) if source.times_samples else 1
    return weight * factor / (1 - weight if source.shared else 1)


def distance_to_normal(cos: Tensor, sin: Tensor, knots: Tensor) -> Tensor:
    """Integrate |phi(t) - exp(-t^2/2)|^2 exp(-t^2/2) over [-3, 3] with the trapezoid rule: [..., Q] -> [...].

    Epps & Pulley 1983, as in LeJEPA, without the factor N. phi = cos + i sin are the means of exp(i t y) over samples y,
    at knots t [Q] in [0, 3].
    """
    normal = (-knots.square() / 2).exp()
    error = (cos - normal).square() + sin.square()
    return 2 * torch.trapezoid(error * normal, knots)


class SIGReg(Objective):
    def __init__(self, config: SIGRegConfig) -> None:
        super().__init__()
        self.config = config

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Sums of cos and sin of knot x projection [Q, G, K], and sample counts [G].

        G groups: spatial tokens, or time steps x spatial tokens with `per_timestep`.
        """
        over = (0,) if self.config.per_timestep else (0, 1)
        context = at_least_float32(latents.context)
        mask = latents.context_mask.to(context.dtype)
        projected = context @ random_directions(latents.step_seed, self.config.directions, context)  # [B, T, N, K]
        # Activation checkpointing: each knot is recomputed in the backward pass, so that not all 17 are held in memory.
        checkpointed = functools.partial(checkpoint, _cos_and_sin_sums, use_reentrant=False, preserve_rng_state=False)
        by_knot = [checkpointed(projected, mask[..., None], knot, over) for knot in _knots(context)]
        cos, sin = (torch.stack(parts) for parts in zip(*by_knot, strict=True))
        return {"cos": cos.flatten(1, -2), "sin": sin.flatten(1, -2), "count": mask.sum(over).flatten()}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        """Mean over directions, and over the groups that have samples."""
        count = totals["count"]
        cos, sin = (torch.einsum("qgk,g->gkq", totals[name], 1 / count.clamp(min=1)) for name in ("cos", "sin"))
        distances = distance_to_normal(cos, sin, _knots(count)).mean(1)
        return {"normality": self.config.weight * (distances * (count > 0)).sum() / (count > 0).sum().clamp(min=1)}


def _knots(like: Tensor) -> Tensor:
    return torch.linspace(0, LAST_KNOT, KNOTS, dtype=like.dtype, device=like.device)


def _cos_and_sin_sums(projected: Tensor, mask: Tensor, knot: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    angles = knot * projected
    return (angles.cos() * mask).sum(over), (angles.sin() * mask).sum(over)
