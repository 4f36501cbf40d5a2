"""Losses of a whole global batch, exact on any number of ranks and micro-batches.

A regulariser is a function of statistics of the batch: a count, a sum, a Gram matrix, a sorted sample. Computed per GPU or per
micro-batch it would be another loss than the one in the recipe. Here every objective is written as

    loss = value(totals)

where totals are statistics of two kinds: `sums` are added over rows, micro-batches and ranks; `rows`, where no sum suffices,
are concatenated. The gradient with respect to the latents z is exact by the chain rule, wherever the latents are:

    d loss / d z = d value / d totals * d statistics of z's own micro-batch / d z

Each rank collects the totals (without gradient), differentiates `value` with respect to them once per training step, and
back-propagates this gradient through its own statistics. The backward pass needs no collective, and a micro-batch needs
the gradient with respect to its own statistics only.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from worldmodel.models.latents import Latents
from worldmodel.objectives.objective import Centers, Objective, Rows, Sums, Terms


@dataclass(frozen=True)
class Statistics:
    """Statistics of one micro-batch on one rank for one objective, with gradient where they have one."""

    sums: Sums
    rows: Rows

    def detach(self) -> Statistics:
        return Statistics({k: v.detach() for k, v in self.sums.items()}, {k: v.detach() for k, v in self.rows.items()})


@dataclass(frozen=True)
class LossGradients:
    """The terms of a loss of the global batch, and its gradient with respect to the statistics of one micro-batch."""

    terms: Terms  # without gradient
    by_statistic: dict[str, Tensor]  # d loss / d statistic, in the shape of the statistic


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def at_least_float32(x: Tensor) -> Tensor:
    """Convert to float32 unless the dtype is wider: bf16 is too coarse for statistics."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@torch.no_grad()
def sum_over_ranks(sums: Sums) -> Sums:
    """Add each tensor over all ranks, in one collective. All tensors must share a dtype and a device."""
    if world_size() == 1 or not sums:
        return sums
    flat = torch.cat([value.flatten() for value in sums.values()])
    dist.all_reduce(flat)
    parts = flat.split([value.numel() for value in sums.values()])
    return {name: part.view_as(value) for (name, value), part in zip(sums.items(), parts, strict=True)}


@torch.no_grad()
def gather_rows(rows: Rows) -> tuple[Rows, int]:
    """Concatenate the rows of all ranks; return them and the index of this rank's first row. Ranks may differ in length."""
    if world_size() == 1 or not rows:
        return rows, 0
    first = next(iter(rows.values()))
    count = torch.tensor([len(first)], device=first.device)
    counts = [torch.empty_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    lengths = torch.cat(counts).tolist()  # waits for the device
    gathered = {}
    for name, value in rows.items():
        padded = value.new_zeros(max(lengths), *value.shape[1:])
        padded[: len(value)] = value
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        gathered[name] = torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])
    return gathered, sum(lengths[: dist.get_rank()])


@torch.no_grad()
def global_centers(latents: Latents, of_rows: bool = True) -> Centers:
    """Compute the means of one micro-batch at every spatial token, over all ranks. `of_rows`: also of forecasts and targets."""
    context = at_least_float32(latents.context)
    mask, tokens = latents.context_mask[..., None].to(context.dtype), context.shape[2]

    def sum_by_token(rows: Tensor) -> Tensor:
        return rows.new_zeros(tokens, rows.shape[1]).index_add(0, latents.token, rows)

    sums = {"context": (context * mask).sum(dim=(0, 1)), "context_count": mask.sum(dim=(0, 1))}
    if of_rows:
        predicted, target = at_least_float32(latents.predicted), at_least_float32(latents.target)
        sums |= {"predicted": sum_by_token(predicted), "target": sum_by_token(target)}
        sums["row_count"] = sum_by_token(torch.ones_like(predicted[:, :1]))
    total = sum_over_ranks(sums)
    context_mean = total["context"] / total["context_count"].clamp(min=1)
    if not of_rows:
        return Centers(context_mean)
    row_count = total["row_count"].clamp(min=1)
    return Centers(context_mean, total["predicted"] / row_count, total["target"] / row_count)


def loss_gradients(objective: Objective, micro_batches: Sequence[Statistics]) -> list[LossGradients]:
    """Evaluate an objective on the global batch, given the statistics of this rank's micro-batches; one result for each.

    Every rank must call it.
    """
    parts = [part.detach() for part in micro_batches]
    sums = sum_over_ranks(functools.reduce(_added, (part.sums for part in parts)))
    rows, first = gather_rows({name: torch.cat([part.rows[name] for part in parts]) for name in parts[0].rows})
    totals = {name: total.detach().requires_grad_(total.is_floating_point()) for name, total in (sums | rows).items()}
    with torch.enable_grad():
        terms = objective.value(totals)
        loss = torch.stack(list(terms.values())).sum()
    inputs = {name: total for name, total in totals.items() if total.requires_grad}
    found = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    gradients = {name: gradient for name, gradient in zip(inputs, found, strict=True) if gradient is not None}
    terms = {name: term.detach() for name, term in terms.items()}
    results = []
    for part in parts:
        own_rows = slice(first, first := first + len(next(iter(part.rows.values()), ())))
        own = {name: gradient[own_rows] if name in rows else gradient for name, gradient in gradients.items()}
        results.append(LossGradients(terms, own))
    return results


def with_exact_gradient(statistics: Statistics, gradients: LossGradients) -> Tensor:
    """Return a loss with the value of the global batch, and, through these statistics, their part of its exact gradient.

    The parts of all ranks and micro-batches add up to the gradient of the global batch. DDP and FSDP average gradients over
    ranks instead of adding them, so the part is multiplied by the number of ranks.
    """
    loss = torch.stack(list(gradients.terms.values())).sum()
    values = statistics.sums | statistics.rows
    products = [
        (gradient * values[name]).sum() for name, gradient in gradients.by_statistic.items() if values[name].requires_grad
    ]
    if not products:
        return loss
    part = torch.stack(products).sum() * world_size()
    return loss + (part - part.detach())


def _added(one: Sums, other: Sums) -> Sums:
    return {name: one[name] + other[name] for name in one}
