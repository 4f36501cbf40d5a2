"""InfoNCE (van den Oord, Li & Vinyals 2018) over the global batch: a forecast must identify its target among negatives."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import BatchSizes, Objective, ObjectiveBase, Rows, Terms
from worldmodel.objectives.statistics import at_least_float32


class InfoNCEConfig(ObjectiveBase):
    """Cross-entropy of the target among candidates, with cosine similarity / temperature as logits (eq. 4; SimCLR, eq. 1).

    Negatives have the spatial token and the horizon of the target, so that neither of the two identifies it.
    Every rank holds all forecasts and targets of the global batch: 2 R D numbers for R rows, and R x (clips + steps) logits.
    Cosines do not depend on the scale of latents, and a forecast error makes the scale shrink: see `model.normalise_latents`.
    """

    kind: Literal["info_nce"] = "info_nce"
    weight: float = Field(1.0, gt=0)
    """weight of this objective in the loss"""
    temperature: float = Field(0.1, gt=0)
    """divides the similarities; a lower one gives more weight to the nearest negatives"""
    other_clips: bool = True
    """negatives: targets of other clips at the same time step of the window"""
    other_times: bool = True
    """negatives: targets of the same clip at other time steps; without them static features suffice"""

    @model_validator(mode="after")
    def _check(self) -> InfoNCEConfig:
        if not (self.other_clips or self.other_times):
            raise ValueError("other_clips and other_times are both false, so there are no negatives; set one of them to true")
        return self

    @property
    def prevents_collapse(self) -> bool:
        return True

    def preserves_scale(self, normalised: bool) -> bool:
        return normalised

    def check(self, batch: BatchSizes) -> list[str]:
        problems = []
        if self.other_clips and batch.clips < 2:
            problems.append(".other_clips needs at least 2 clips per global batch, but there is 1; raise data.batch_size")
        if self.other_times and batch.targets_per_horizon < 2:
            problems.append(
                ".other_times needs at least 2 target time steps per spatial token and horizon, but there is 1; "
                "lengthen the window, or set other_times to false"
            )
        return problems


def group_rows(*keys: Tensor) -> Tensor:
    """List the rows that agree in all keys, one group per line: int64 [R] each -> [G, W], padded with -1."""
    group = torch.zeros_like(keys[0])
    for key in keys:
        _, code = torch.unique(key, return_inverse=True)
        _, group = torch.unique(group * (code.max() + 1) + code, return_inverse=True)
    order = group.argsort(stable=True)
    count = group.bincount()
    slot = torch.arange(len(group), device=group.device) - (count.cumsum(0) - count)[group[order]]
    table = group.new_full((len(count), int(count.max())), -1)
    table[group[order], slot] = order
    return table


def logsumexp_of_negatives(query: Tensor, key: Tensor, table: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Log of the sum of exp(query . key / temperature) over keys in the group of the row that have another `label`.

    query and key [R, D], table [G, W] from `group_rows`, label [R] -> [R]. Rows without a negative get the lowest number.
    """
    is_row = table >= 0
    logits = torch.einsum("gid,gjd->gij", query[table], key[table]) / temperature
    same = label[table][:, :, None] == label[table][:, None]
    logits = logits.masked_fill(same | ~is_row[:, None], torch.finfo(logits.dtype).min)
    return logits.new_zeros(len(query)).index_put((table[is_row],), logits.logsumexp(2)[is_row])


class InfoNCE(Objective):
    def __init__(self, config: InfoNCEConfig) -> None:
        super().__init__()
        self.config = config

    def rows(self, latents: Latents) -> Rows:
        """Unit vectors of forecasts and targets [R, D], and clip, time step, spatial token and horizon of each [R]."""
        return {
            "predicted": F.normalize(at_least_float32(latents.predicted), dim=1),
            "target": F.normalize(at_least_float32(latents.target), dim=1),
            "clip": latents.clip if latents.window_ids is None else latents.window_ids[latents.clip],
            "time": latents.time,
            "token": latents.token,
            "horizon": 2 * latents.horizon + latents.is_rollout,  # direct forecasts and rollouts are different groups
        }

    def value(self, totals: dict[str, Tensor]) -> Terms:
        """Mean over the rows that have a negative. The loss of the other rows is log 1 = 0."""
        c, predicted, target = self.config, totals["predicted"], totals["target"]
        clip, time, same = totals["clip"], totals["time"], (totals["token"], totals["horizon"])
        kinds = []
        if c.other_clips:
            kinds.append((group_rows(time, *same), clip))
        if c.other_times:
            kinds.append((group_rows(clip, *same), time))
        positive = (predicted * target).sum(1) / c.temperature
        negatives = torch.stack([logsumexp_of_negatives(predicted, target, *kind, c.temperature) for kind in kinds])
        loss = torch.cat((positive[None], negatives)).logsumexp(0) - positive
        has_negative = (negatives > torch.finfo(negatives.dtype).min / 2).any(0)
        return {"nce": c.weight * loss.sum() / has_negative.sum().clamp(min=1)}
