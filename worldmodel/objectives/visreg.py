"""VISReg (Wu, Balestriero & Levine 2026): scale and shape of the latents held apart, over the whole global batch."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.directions import directions
from worldmodel.objectives.objective import Objective, ObjectiveBase, Rows, Terms, Update
from worldmodel.objectives.statistics import precise

VARIANCE_EPSILON = 1e-8  # under the root: keeps the gradient finite where latents have collapsed


class VISRegConfig(ObjectiveBase):
    """Standard deviation 1 (eq. 1), normal shape whatever the scale (eq. 2-5), mean 0 (eq. 6).

    Where SIGReg's gradient vanishes at collapse, that of `scale` is largest there; that of `shape` grows as 1 / std and points
    inwards, so with few samples (256: below a std of 0.02) it wins: start from latents that vary. Latents are centred per
    place. Published with (1 - lambda) error + lambda regulariser, lambda 0.6 to 0.9: weights of 1.5 to 9 here. Sorting needs
    all samples: keeps all M latents of the update on every rank, M x D numbers, and M x directions while it is computed.
    """

    kind: Literal["visreg"] = "visreg"
    scale_weight: NonNegativeFloat = 9.0  # pushes each feature's standard deviation to 1
    shape_weight: NonNegativeFloat = 9.0  # pushes latents to a normal distribution, whatever their scale
    center_weight: NonNegativeFloat = 9.0  # pushes the mean of each place to 0
    directions: PositiveInt = 256  # random ones that shape is measured along, drawn anew every update

    @property
    def keeps_apart(self) -> bool:
        return self.scale_weight > 0 and self.shape_weight > 0

    def keeps_scale(self, normalised: bool) -> bool:
        return self.scale_weight > 0

    def check(self, update: Update) -> list[str]:
        if update.clips * update.steps < 2:
            return [" asks how latents are spread, but an update has one latent step; raise data.batch_size"]
        return []


def normal_quantiles(count: int, like: Tensor) -> Tensor:
    """Where sorted samples of N(0, 1) lie: its quantiles at i / (count + 1), in the dtype and on the device of `like`."""
    return torch.special.ndtri(torch.arange(1, count + 1, dtype=torch.float64, device=like.device) / (count + 1)).to(like)


def sliced_distance_to_normal(samples: Tensor, along: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance to N(0, 1), mean over directions: samples [M, D], directions [D, K] -> scalar."""
    ordered = (samples @ along).sort(dim=0).values
    return (ordered - normal_quantiles(len(samples), samples)[:, None]).square().mean()


class VISReg(Objective):
    def __init__(self, config: VISRegConfig) -> None:
        super().__init__()
        self.config = config

    def rows(self, latents: Latents) -> Rows:
        """Latents [M, D], and of each its place and the random number of the update [M]."""
        seen = latents.context_mask
        place = torch.arange(seen.shape[2], device=seen.device).expand_as(seen)[seen]
        return {"latent": precise(latents.context[seen]), "place": place, "chance": torch.full_like(place, latents.chance)}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        """As published, the shape does not move the scale: its standard deviations carry no gradient."""
        c, latent, place = self.config, totals["latent"], totals["place"]
        count = place.bincount()
        total = latent.new_zeros(len(count), latent.shape[1]).index_add(0, place, latent)
        mean = total / count.clamp(min=1)[:, None]  # [N, D]
        centred = latent - mean[place]
        std = (centred.square().mean(0) + VARIANCE_EPSILON).sqrt()
        along = directions(int(totals["chance"][0]), c.directions, latent)
        return {
            "scale": c.scale_weight * (1 - std).square().mean(),
            "shape": c.shape_weight * sliced_distance_to_normal(centred / std.detach(), along),
            "center": c.center_weight * mean[count > 0].square().mean(),
        }
