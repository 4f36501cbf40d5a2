"""Model and objectives as one module, so that DDP and FSDP see one forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from worldmodel.data.augment import AugmentConfig, augment
from worldmodel.data.loader import Batch
from worldmodel.models import TrainedModel
from worldmodel.models.latents import Latents
from worldmodel.models.pixels import standardise
from worldmodel.objectives.objective import Centers, Objective, Terms
from worldmodel.objectives.statistics import Slopes, Statistics, evaluate, shared_centers, with_exact_gradient


@dataclass(frozen=True)
class Measured:
    """Statistics of one micro-batch."""

    centers: Centers
    statistics: dict[str, Statistics]  # by objective


@dataclass(frozen=True)
class Whole:
    """What a micro-batch must know of its update: of all micro-batches on all ranks."""

    centers: Centers
    slopes: dict[str, Slopes]  # by objective, of this micro-batch's statistics


@dataclass(frozen=True)
class Loss:
    total: Tensor  # the value for the whole update; its gradient is this micro-batch's share
    terms: Terms  # "<objective>/<term>", without gradient


class NotFiniteError(RuntimeError):
    """Loss or gradient became NaN or infinite; says in which update, term and clips."""


class Learner(nn.Module):
    """forward(micro) -> Loss. Called through its wrapper (DDP, FSDP), never as `.forward`."""

    def __init__(self, model: TrainedModel, objectives: Mapping[str, Objective], augmentation: AugmentConfig) -> None:
        super().__init__()
        self.model = model
        self.objectives: Mapping[str, Objective] = nn.ModuleDict(objectives)  # type: ignore[assignment]
        self.augmentation = augmentation

    def forward(self, micro: Batch, whole: Whole | None = None) -> Loss:
        """Loss of the whole update and this micro-batch's share of its gradient.

        `whole` comes from `measure` where an update has several micro-batches; without it this one is the update.
        """
        found = self._statistics(micro, None if whole is None else whole.centers)
        with torch.autocast(micro.frames.device.type, enabled=False):
            whole = whole or self.whole([found])[0]
            losses = [with_exact_gradient(found.statistics[name], slopes) for name, slopes in whole.slopes.items()]
            terms = {f"{name}/{term}": value for name, slopes in whole.slopes.items() for term, value in slopes.terms.items()}
            return Loss(torch.stack(losses).sum(), terms)

    def statistics(self, micro: Batch, centers: Centers | None = None) -> Measured:
        """What the objectives ask of a micro-batch. All of an update must share the `centers` of its first."""
        return self._statistics(micro, centers)  # FSDP makes calls of this name gather the weights; `forward` has them already

    def _statistics(self, micro: Batch, centers: Centers | None) -> Measured:
        precisely = torch.autocast(micro.frames.device.type, enabled=False)  # positions, colours, statistics: not in bf16
        with precisely:
            pixels = standardise(augment(micro.frames, micro.draws, self.model.size_px, self.augmentation))
        latents: Latents = replace(self.model(pixels, micro.ids, micro.chance), ids=micro.ids.to(pixels.device))
        with precisely:
            if centers is None:
                centers = shared_centers(latents)
            found = {n: Statistics(o.sums(latents, centers), o.rows(latents)) for n, o in self.objectives.items()}
        return Measured(centers, found)

    def whole(self, measured: Sequence[Measured]) -> list[Whole]:
        """What each micro-batch of this rank must know of the update; asks all ranks."""
        slopes = {n: evaluate(o, [part.statistics[n] for part in measured]) for n, o in self.objectives.items()}
        return [Whole(part.centers, {n: told[i] for n, told in slopes.items()}) for i, part in enumerate(measured)]


@torch.no_grad()
def measure(learner: Learner, micros: Sequence[Batch]) -> list[Whole]:
    """What each micro-batch of an update must know of all of it, on all ranks; the learner without its wrapper.

    Costs one more forward pass a micro-batch. Augmentation is drawn by sample, so the pass that follows sees the same pixels.
    """
    measured = [learner.statistics(micros[0])]
    measured += [learner.statistics(micro, measured[0].centers) for micro in micros[1:]]
    return learner.whole(measured)


def mean_loss(losses: Sequence[Loss]) -> Loss:
    """Of the micro-batches of an update: they differ where each of them was taken for the whole."""
    terms = {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in losses[0].terms}
    return Loss(torch.stack([loss.total.detach() for loss in losses]).mean(), terms)


def inexact_layers(module: nn.Module, micros: int, ranks: int) -> list[str]:
    """Layers whose output depends on which samples share a micro-batch or a rank, or differs in the second of two passes."""
    names = []
    for name, layer in module.named_modules():
        shares = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        per_rank = shares and ranks > 1 and not isinstance(layer, nn.SyncBatchNorm)
        redrawn = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        if per_rank or (micros > 1 and (shares or redrawn)):
            names.append(f"{name} ({type(layer).__name__})")
    return names
