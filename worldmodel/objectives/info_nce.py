"""InfoNCE (van den Oord, Li & Vinyals 2018), over the whole global batch: a forecast must tell what came from what did not."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import Objective, ObjectiveBase, Rows, Terms, Update
from worldmodel.objectives.statistics import precise


class InfoNCEConfig(ObjectiveBase):
    """-log share of the true target among candidates, by cosine similarity / temperature (eq. 4; SimCLR, eq. 1).

    Candidates have the place and horizon of the true one, so that neither knowing one's place nor the time tells them apart.
    Keeps all forecasts and targets of the update on every rank: 2 R D numbers for R rows, and R x (clips + steps) similarities.
    Cosines do not see scale, and a forecast error would have it vanish: see `model.normalise_latents`.
    """

    kind: Literal["info_nce"] = "info_nce"
    weight: float = Field(1.0, gt=0)  # of this objective in the loss
    temperature: float = Field(0.1, gt=0)  # similarities are divided by it: the lower, the more the nearest candidates count
    other_clips: bool = True  # negatives: targets of other clips at the same moment of the window
    other_times: bool = True  # negatives: targets of the same clip at other moments; without them, what never moves suffices

    @model_validator(mode="after")
    def _check(self) -> InfoNCEConfig:
        if not (self.other_clips or self.other_times):
            raise ValueError("other_clips and other_times are both false, so there is nothing to tell the target from")
        return self

    @property
    def keeps_apart(self) -> bool:
        return True

    def keeps_scale(self, normalised: bool) -> bool:
        return normalised

    def check(self, update: Update) -> list[str]:
        problems = []
        if self.other_clips and update.clips < 2:
            problems.append(".other_clips asks for other clips, but there is one at a time; raise data.batch_size")
        if self.other_times and update.targets_alike < 2:
            problems.append(
                ".other_times asks for other moments, but from equally far each place has one that can be predicted; "
                "lengthen the window, or set other_times to false"
            )
        return problems


def groups(*keys: Tensor) -> Tensor:
    """Rows that agree in all keys, a line a group: int64 [R] each -> [G, W], -1 where a group has fewer than W."""
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


def log_sum_of_others(query: Tensor, key: Tensor, table: Tensor, what: Tensor, temperature: float) -> Tensor:
    """log sum of exp(query . key / temperature) over keys of the row's group that are of another `what`.

    [R, D] twice, [G, W], [R] -> [R]; the least number there is where a row has none.
    """
    there = table >= 0
    logits = torch.einsum("gid,gjd->gij", query[table], key[table]) / temperature
    same = what[table][:, :, None] == what[table][:, None]
    logits = logits.masked_fill(same | ~there[:, None], torch.finfo(logits.dtype).min)
    return logits.new_zeros(len(query)).index_put((table[there],), logits.logsumexp(2)[there])


class InfoNCE(Objective):
    def __init__(self, config: InfoNCEConfig) -> None:
        super().__init__()
        self.config = config

    def rows(self, latents: Latents) -> Rows:
        """Directions of forecasts and targets [R, D], and what they are of [R]."""
        return {
            "predicted": F.normalize(precise(latents.predicted), dim=1),
            "target": F.normalize(precise(latents.target), dim=1),
            "clip": latents.sample if latents.ids is None else latents.ids[latents.sample],
            "time": latents.time,
            "place": latents.place,
            "horizon": 2 * latents.horizon + latents.imagined,
        }

    def value(self, totals: dict[str, Tensor]) -> Terms:
        """Mean over the rows that have a negative; log 1 = 0 for none."""
        c, predicted, target = self.config, totals["predicted"], totals["target"]
        clip, time, alike = totals["clip"], totals["time"], (totals["place"], totals["horizon"])
        kinds = []
        if c.other_clips:
            kinds.append((groups(time, *alike), clip))
        if c.other_times:
            kinds.append((groups(clip, *alike), time))
        true = (predicted * target).sum(1) / c.temperature
        others = torch.stack([log_sum_of_others(predicted, target, *kind, c.temperature) for kind in kinds])
        loss = torch.cat((true[None], others)).logsumexp(0) - true
        judged = (others > torch.finfo(others.dtype).min / 2).any(0)
        return {"nce": c.weight * loss.sum() / judged.sum().clamp(min=1)}
