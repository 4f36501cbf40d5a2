"""InfoNCE (van den Oord, Li & Vinyals 2018) over the global batch: a forecast must identify its target among negatives."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class RowGroups:
    """Rows that agree in some keys form a group. Both tensors are int64 [R]."""

    group: Tensor  # number of the row's group
    slot: Tensor  # number of the row within its group

    def sizes(self) -> Tensor:
        """Number of groups G and of rows in the largest one W: int64 [2]."""
        return torch.stack((self.group.max(), self.slot.max())) + 1

    def table(self, groups: int, width: int) -> Tensor:
        """The rows of each group: int64 [G, W], padded with -1."""
        table = self.group.new_full((groups, width), -1)
        table[self.group, self.slot] = torch.arange(len(self.group), device=self.group.device)
        return table


def group_rows(*keys: Tensor) -> RowGroups:
    """Group the rows that agree in all keys, int64 [R] each. Does not wait for the device."""
    group = torch.zeros_like(keys[0])
    for key in keys:
        group = _ranks(group * len(key) + _ranks(key))
    count = torch.zeros_like(group).scatter_add(0, group, torch.ones_like(group))
    order = group.argsort(stable=True)
    slot = torch.arange(len(group), device=group.device) - (count.cumsum(0) - count)[group[order]]
    return RowGroups(group, torch.zeros_like(group).scatter(0, order, slot))


def _ranks(values: Tensor) -> Tensor:
    """Number of different values that are smaller: int64 [R] -> [R]. torch.unique would wait for the device."""
    ordered, order = values.sort()
    rank = torch.zeros_like(values)
    rank[1:] = (ordered[1:] != ordered[:-1]).cumsum(0)
    return torch.zeros_like(values).scatter(0, order, rank)


def logsumexp_of_negatives(
    query: Tensor, key: Tensor, groups: RowGroups, table: Tensor, label: Tensor, temperature: float
) -> Tensor:
    """Log of the sum of exp(query . key / temperature) over keys in the group of the row that have another `label`.

    query and key [R, D], table [G, W] of `groups`, label [R] -> [R]. Rows without a negative get the lowest number.
    """
    logits = torch.einsum("gid,gjd->gij", query[table], key[table]) / temperature
    same = label[table][:, :, None] == label[table][:, None]
    logits = logits.masked_fill(same | (table < 0)[:, None], torch.finfo(logits.dtype).min)
    return logits.logsumexp(2)[groups.group, groups.slot]


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
        """Mean over the rows that have a negative. The loss of the other rows is log 1 = 0.

        Waits for the device once: the number of negatives depends on the data.
        """
        c, predicted, target = self.config, totals["predicted"], totals["target"]
        clip, time, same = totals["clip"], totals["time"], (totals["token"], totals["horizon"])
        kinds = []
        if c.other_clips:
            kinds.append((group_rows(time, *same), clip))
        if c.other_times:
            kinds.append((group_rows(clip, *same), time))
        positive = (predicted * target).sum(1) / c.temperature
        sizes = torch.stack([groups.sizes() for groups, _ in kinds]).tolist()
        negatives = torch.stack(
            [
                logsumexp_of_negatives(predicted, target, groups, groups.table(*size), label, c.temperature)
                for (groups, label), size in zip(kinds, sizes, strict=True)
            ]
        )
        loss = torch.cat((positive[None], negatives)).logsumexp(0) - positive
        has_negative = (negatives > torch.finfo(negatives.dtype).min / 2).any(0)
        return {"nce": c.weight * loss.sum() / has_negative.sum().clamp(min=1)}
