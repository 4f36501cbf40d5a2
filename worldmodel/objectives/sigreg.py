"""SIGReg (Balestriero & LeCun 2025, LeJEPA): latents are to be standard normal along every direction, over the global batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from worldmodel.models.latents import Latents
from worldmodel.objectives.directions import directions
from worldmodel.objectives.objective import Centers, Objective, ObjectiveBase, Sums, Terms, Update
from worldmodel.objectives.statistics import precise

KNOTS, LAST_KNOT = 17, 3.0  # where characteristic functions are compared: in [0, 3], twice, as they are even


class SIGRegConfig(ObjectiveBase):
    """Epps-Pulley distance of the latents' characteristic function to that of N(0, I), mean over random directions.

    Each place by itself, mean included: else knowing one's position in the picture would do. `weight` is of the mean
    WITHOUT the factor N (number of samples) that LeJEPA multiplies by; `weight_of` turns published weights into ours. What
    never moves within a clip satisfies it: look at the skill against copying, and compose it with `temporal_std_weight` of vicreg
    where that stays at 0. Takes memory for samples x directions numbers.
    """

    kind: Literal["sigreg"] = "sigreg"
    weight: float = Field(30.0, gt=0)  # of this objective in the loss; the default is LeVJEPA's, for video
    directions: PositiveInt = 256  # random ones that latents are projected on, drawn anew every update
    per_timestep: bool = False  # also each moment of the window by itself, its samples the clips alone, as LeWM does

    @property
    def keeps_apart(self) -> bool:
        return True

    def keeps_scale(self, normalised: bool) -> bool:
        return True

    def check(self, update: Update) -> list[str]:
        if (update.clips if self.per_timestep else update.clips * update.steps) < 2:
            return [" asks how latents are spread, but has one sample of each place; raise data.batch_size"]
        return []


@dataclass(frozen=True)
class Published:
    """How a publication weighs its statistic: loss = (1 - weight if shared else 1) * error + weight * statistic."""

    weight: float
    samples: int  # that the statistic is taken over, where that is published
    times_samples: bool  # whether the statistic is multiplied by their number
    shared: bool = False


PUBLISHED = {
    "lejepa": Published(0.02, 256, times_samples=True, shared=True),  # its minimal example; the paper tries 0.01 to 0.1
    "lewm": Published(0.09, 128, times_samples=True),  # per_timestep
    "eb_jepa": Published(10.0, 256, times_samples=False),  # "BCS", on 10 knots
    # its flag normalize_by_n=false means: the mean is multiplied by N, here that of a micro-batch over all ranks
    "levjepa": Published(0.02, 1536, times_samples=True),
}


def weight_of(publication: str, weight: float | None = None, samples: int | None = None) -> float:
    """Our `weight`, beside a forecast loss of weight 1, for a weight as a publication writes it (default: its own).

    | publication | theirs | samples N    | ours = theirs x N / share of the error |
    |-------------|--------|--------------|----------------------------------------|
    | lejepa      | 0.02   | 256 images   | 5.2                                    |
    | lewm        | 0.09   | 128 clips    | 11.5                                   |
    | eb_jepa     | 10     | (not scaled) | 10                                     |
    | levjepa     | 0.02   | 1,536 clips  | 30.7                                   |
    """
    source = PUBLISHED[publication]
    weight = source.weight if weight is None else weight
    factor = (samples or source.samples) if source.times_samples else 1
    return weight * factor / (1 - weight if source.shared else 1)


def distance_to_normal(cos: Tensor, sin: Tensor, knots: Tensor) -> Tensor:
    """Integral of |phi(t) - exp(-t^2/2)|^2 exp(-t^2/2) dt over [-3, 3], by the trapezoid rule: [..., Q] -> [...].

    Epps & Pulley 1983, as in LeJEPA, without its factor N. phi = cos + i sin are the means of exp(i t y) over samples y,
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
        """Sums of cos and sin of knot x projection, per place (or moment and place): [Q, G, K], and samples [G]."""
        over = (0,) if self.config.per_timestep else (0, 1)
        context = precise(latents.context)
        seen = latents.context_mask.to(context.dtype)
        along = context @ directions(latents.chance, self.config.directions, context)  # [B, T, N, K]
        # each knot is computed anew in the backward pass, so that not all 17 are kept
        frugal = functools.partial(checkpoint, _waves, use_reentrant=False, preserve_rng_state=False)
        waves = [frugal(along, seen[..., None], knot, over) for knot in _knots(context)]
        cos, sin = (torch.stack(parts) for parts in zip(*waves, strict=True))
        return {"cos": cos.flatten(1, -2), "sin": sin.flatten(1, -2), "count": seen.sum(over).flatten()}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        """Mean over directions and over the places (or moments and places) that were seen at all."""
        count = totals["count"]
        cos, sin = (torch.einsum("qgk,g->gkq", totals[name], 1 / count.clamp(min=1)) for name in ("cos", "sin"))
        distances = distance_to_normal(cos, sin, _knots(count)).mean(1)
        return {"normality": self.config.weight * (distances * (count > 0)).sum() / (count > 0).sum().clamp(min=1)}


def _knots(like: Tensor) -> Tensor:
    return torch.linspace(0, LAST_KNOT, KNOTS, dtype=like.dtype, device=like.device)


def _waves(along: Tensor, seen: Tensor, knot: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    angles = knot * along
    return (angles.cos() * seen).sum(over), (angles.sin() * seen).sum(over)
