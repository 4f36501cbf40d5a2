"""VISReg (Wu, Balestriero & Levine 2026): separate terms for scale and shape of the latents, over the global batch."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import BatchSizes, Centers, Objective, ObjectiveBase, Rows, Sums, Terms
from worldmodel.objectives.random_directions import random_directions
from worldmodel.objectives.statistics import at_least_float32

VARIANCE_EPSILON = 1e-8  # under the root: keeps the gradient finite where latents have collapsed


class VISRegConfig(ObjectiveBase):
    """Standard deviation 1 (eq. 1), normal shape at any scale (eq. 2-5), mean 0 (eq. 6).

    At collapse the gradient of SIGReg vanishes; that of the `scale` term is largest there. The gradient of the `shape` term
    grows as 1 / std and points inwards, so it dominates at a small std (below 0.02 with 256 samples): start from latents that
    vary. Latents are centred at each spatial token. Published as (1 - lambda) error + lambda regulariser with lambda 0.6 to
    0.9, which are weights of 1.5 to 9 here. Sorting needs all samples: every rank holds all M latents of the global batch
    (M x D numbers), and M x directions numbers while the loss is computed.
    """

    kind: Literal["visreg"] = "visreg"
    scale_weight: NonNegativeFloat = 9.0
    """drives each feature's standard deviation to 1"""
    shape_weight: NonNegativeFloat = 9.0
    """drives latents to a normal distribution of any scale"""
    center_weight: NonNegativeFloat = 9.0
    """drives the mean of each spatial token to 0"""
    directions: PositiveInt = 256
    """number of random directions along which the shape is compared; new ones in every step"""

    @property
    def prevents_collapse(self) -> bool:
        return self.scale_weight > 0 and self.shape_weight > 0

    def preserves_scale(self, normalised: bool) -> bool:
        return self.scale_weight > 0

    def check(self, batch: BatchSizes) -> list[str]:
        if batch.clips * batch.steps < 2:
            return [" needs at least 2 latent steps in the global batch, but there is 1; raise data.batch_size"]
        return []


def normal_quantiles(count: int, like: Tensor) -> Tensor:
    """Quantiles of N(0, 1) at i / (count + 1), i = 1..count, in the dtype and on the device of `like`: [count]."""
    return torch.special.ndtri(torch.arange(1, count + 1, dtype=torch.float64, device=like.device) / (count + 1)).to(like)


def sliced_distance_to_normal(samples: Tensor, directions: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance to N(0, 1), mean over directions: samples [M, D], directions [D, K] -> scalar."""
    ordered = (samples @ directions).sort(dim=0).values
    return (ordered - normal_quantiles(len(samples), samples)[:, None]).square().mean()


class VISReg(Objective):
    def __init__(self, config: VISRegConfig) -> None:
        super().__init__()
        self.config = config
        self._step_seed = 0  # of the latents that were seen last; the same on all ranks and micro-batches of a step

    def sums(self, latents: Latents, centers: Centers) -> Sums:
        """Number of latents at each spatial token [N]."""
        return {"count": latents.context_mask.to(centers.context.dtype).sum((0, 1))}

    def rows(self, latents: Latents) -> Rows:
        """Latents [M, D], and the spatial token of each [M]. Waits for the device, since M depends on the mask."""
        self._step_seed = latents.step_seed
        mask = latents.context_mask
        (row,) = mask.flatten().nonzero(as_tuple=True)
        return {"latent": at_least_float32(latents.context.flatten(0, 2)[row]), "token": row % mask.shape[2]}

    def value(self, totals: dict[str, Tensor]) -> Terms:
        """As published, the shape term does not change the scale: its standard deviations carry no gradient."""
        c, latent, token, count = self.config, totals["latent"], totals["token"], totals["count"].detach()
        total = latent.new_zeros(len(count), latent.shape[1]).index_add(0, token, latent)
        mean = total / count.clamp(min=1)[:, None]  # [N, D]
        centred = latent - mean[token]
        std = (centred.square().mean(0) + VARIANCE_EPSILON).sqrt()
        directions = random_directions(self._step_seed, c.directions, latent)
        is_used = (count > 0).to(latent.dtype)
        return {
            "scale": c.scale_weight * (1 - std).square().mean(),
            "shape": c.shape_weight * sliced_distance_to_normal(centred / std.detach(), directions),
            "center": c.center_weight * (mean.square() * is_used[:, None]).sum() / (is_used.sum() * latent.shape[1]),
        }
