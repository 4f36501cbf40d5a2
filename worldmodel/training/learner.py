"""Model and objectives as one module, so that DDP and FSDP see a single forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from worldmodel.data.augmentation.augment import AugmentConfig, augment
from worldmodel.data.augmentation.occluders import can_be_forecast
from worldmodel.data.loader import Batch
from worldmodel.data.token_masks.stacked import mask_arguments
from worldmodel.models import TrainedModel
from worldmodel.models.condition import condition_arguments
from worldmodel.models.latents import Latents
from worldmodel.models.pixels import standardise_
from worldmodel.objectives.objective import Centers, Objective, Terms
from worldmodel.objectives.statistics import LossGradients, Statistics, global_centers, loss_gradients, with_exact_gradient
from worldmodel.process.devices import to_device


@dataclass(frozen=True)
class MicroBatchStatistics:
    """Statistics of one micro-batch."""

    centers: Centers
    by_objective: dict[str, Statistics]


@dataclass(frozen=True)
class GlobalStatistics:
    """Statistics of the global batch (all micro-batches on all ranks) that the loss of one micro-batch needs."""

    centers: Centers
    gradients: dict[str, LossGradients]  # by objective, with respect to the statistics of this micro-batch


@dataclass(frozen=True)
class Loss:
    total: Tensor  # has the value for the global batch; its gradient is the part of this micro-batch
    terms: Terms  # "<objective>/<term>", without gradient


class Learner(nn.Module):
    """forward(micro_batch) -> Loss. Call the module (through DDP or FSDP), never `forward` itself."""

    def __init__(self, model: TrainedModel, objectives: Mapping[str, Objective], augmentation: AugmentConfig) -> None:
        super().__init__()
        self.model = model
        self.objectives: Mapping[str, Objective] = nn.ModuleDict(objectives)  # type: ignore[assignment]
        self.augmentation = augmentation

    def forward(self, micro_batch: Batch, shared: GlobalStatistics | None = None) -> Loss:
        """Compute the loss of the global batch, and this micro-batch's part of its gradient.

        `shared` comes from `global_statistics` if a step has several micro-batches. Without it, this micro-batch (on all ranks)
        is the global batch.
        """
        found = self._statistics(micro_batch, None if shared is None else shared.centers)
        with _full_precision(micro_batch.frames.device):
            gradients = (shared or self.combine([found])[0]).gradients
            losses = [with_exact_gradient(found.by_objective[name], part) for name, part in gradients.items()]
            terms = {f"{name}/{term}": value for name, part in gradients.items() for term, value in part.terms.items()}
            return Loss(torch.stack(losses).sum(), terms)

    def statistics(self, micro_batch: Batch, centers: Centers | None = None) -> MicroBatchStatistics:
        """Compute the statistics of a micro-batch. All micro-batches of a step must share the `centers` of the first one."""
        # FSDP gathers the weights for calls of this method; `forward` has them already.
        return self._statistics(micro_batch, centers)

    def _statistics(self, micro_batch: Batch, centers: Centers | None) -> MicroBatchStatistics:
        device = micro_batch.frames.device
        with _full_precision(device):
            size = self.model.window.frame_px
            augmented = augment(micro_batch.frames, micro_batch.uniforms, size, self.augmentation)
            pixels = standardise_(augmented.pixels)
        given = condition_arguments(micro_batch.actions) | mask_arguments(micro_batch.masks)
        latents: Latents = self.model(pixels, micro_batch.ids, micro_batch.step_seed, **given)
        scored = None if augmented.hidden is None else can_be_forecast(augmented.hidden, latents)
        latents = replace(latents, window_ids=to_device(micro_batch.ids, device), scored=scored)
        with _full_precision(device):
            if centers is None:
                centers = global_centers(latents, any(o.uses_row_centers for o in self.objectives.values()))
            by_objective = {n: Statistics(o.sums(latents, centers), o.rows(latents)) for n, o in self.objectives.items()}
        return MicroBatchStatistics(centers, by_objective)

    def combine(self, parts: Sequence[MicroBatchStatistics]) -> list[GlobalStatistics]:
        """Combine the statistics of all micro-batches; one result for each of this rank's. Every rank must call it."""
        gradients = {n: loss_gradients(o, [part.by_objective[n] for part in parts]) for n, o in self.objectives.items()}
        return [GlobalStatistics(part.centers, {n: grads[i] for n, grads in gradients.items()}) for i, part in enumerate(parts)]


@torch.no_grad()
def global_statistics(learner: Learner, micro_batches: Sequence[Batch]) -> list[GlobalStatistics]:
    """Compute the statistics of the global batch for each micro-batch. `learner` is the module without DDP.

    Costs one more forward pass per micro-batch. Augmentation is a function of the sample, so the training pass that follows
    sees the same pixels.
    """
    parts = [learner.statistics(micro_batches[0])]
    parts += [learner.statistics(micro_batch, parts[0].centers) for micro_batch in micro_batches[1:]]
    return learner.combine(parts)


def average_loss(losses: Sequence[Loss]) -> Loss:
    """Average over micro-batches. They differ only when exact_accumulation is off."""
    terms = {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in losses[0].terms}
    return Loss(torch.stack([loss.total.detach() for loss in losses]).mean(), terms)


def _full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Turn mixed precision off, for pixels and statistics."""
    return torch.autocast(device.type, enabled=False) if torch.amp.is_autocast_available(device.type) else nullcontext()


def batch_dependent_layers(module: nn.Module, micro_batches: int, ranks: int) -> list[str]:
    """Name the layers whose output depends on how a batch is divided (batch norm), or differs between two passes (dropout)."""
    names = []
    for name, layer in module.named_modules():
        is_batch_norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        per_rank = is_batch_norm and ranks > 1 and not isinstance(layer, nn.SyncBatchNorm)
        is_dropout = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        if per_rank or (micro_batches > 1 and (is_batch_norm or is_dropout)):
            names.append(f"{name} ({type(layer).__name__})")
    return names
