"""Model and objectives as one module, so that DDP and FSDP see one forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from worldmodel.data.augment import AugmentConfig, augment
from worldmodel.data.loader import Batch
from worldmodel.latents import Latents
from worldmodel.models import TrainedModel
from worldmodel.objectives.statistics import Objective, Sums, Terms, added, over_ranks, shared_center, with_exact_gradient
from worldmodel.pixels import standardise


@dataclass(frozen=True)
class Totals:
    """Statistics of a whole update: of all its micro-batches on all ranks."""

    center: Tensor  # [N, D]
    sums: dict[str, Sums]  # by objective


@dataclass(frozen=True)
class Loss:
    total: Tensor  # the value for the whole update; its gradient is this micro-batch's share
    terms: Terms  # "<objective>/<term>", without gradient
    totals: Totals  # of what this call has seen, or of the update where it was told


class NotFiniteError(RuntimeError):
    """Loss or gradient became NaN or infinite; says in which update, term and clips."""


class Learner(nn.Module):
    """forward(micro) -> Loss. Called through its wrapper (DDP, FSDP), never as `.forward`."""

    def __init__(self, model: TrainedModel, objectives: Mapping[str, Objective], augmentation: AugmentConfig) -> None:
        super().__init__()
        self.model = model
        self.objectives: Mapping[str, Objective] = nn.ModuleDict(objectives)  # type: ignore[assignment]
        self.augmentation = augmentation

    def forward(self, micro: Batch, totals: Totals | None = None, center: Tensor | None = None) -> Loss:
        """Loss of the whole update and this micro-batch's share of its gradient.

        `totals` come from `measure` where an update has several micro-batches; without them this one is the update.
        `center` fixes the reference of second moments (all micro-batches of an update must share it).
        """
        precisely = torch.autocast(micro.frames.device.type, enabled=False)  # positions, colours, statistics: not in bf16
        with precisely:
            pixels = standardise(augment(micro.frames, micro.draws, self.model.size_px, self.augmentation))
        latents = self.model(pixels, micro.ids, micro.chance)
        with precisely:
            return self._loss(latents, totals, center)

    def _loss(self, latents: Latents, totals: Totals | None, center: Tensor | None) -> Loss:
        if totals is not None:
            center = totals.center
        elif center is None:
            center = shared_center(latents.context, latents.context_mask)
        sums = {name: objective.sums(latents, center) for name, objective in self.objectives.items()}
        if totals is None:
            totals = Totals(center, {name: over_ranks(part) for name, part in sums.items()})

        losses, terms = [], {}
        for name, objective in self.objectives.items():
            loss, parts = with_exact_gradient(objective.value, sums[name], totals.sums[name])
            losses.append(loss)
            terms.update({f"{name}/{term}": value for term, value in parts.items()})
        return Loss(torch.stack(losses).sum(), terms, totals)


@torch.no_grad()
def measure(learner: nn.Module, micros: Sequence[Batch]) -> Totals | None:
    """Statistics of all micro-batches of an update, without a graph; None where there is but one.

    Costs one more forward pass a micro-batch. Augmentation is drawn by sample, so the pass that follows sees the same pixels.
    """
    if len(micros) == 1:
        return None
    totals = learner(micros[0]).totals
    for micro in micros[1:]:
        more = learner(micro, center=totals.center).totals
        totals = replace(totals, sums={name: added(part, more.sums[name]) for name, part in totals.sums.items()})
    return totals
