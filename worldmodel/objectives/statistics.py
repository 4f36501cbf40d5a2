"""Losses of a whole global batch, exact on any number of ranks and micro-batches.

A regulariser is a function of statistics of the batch: a count, a sum, a Gram matrix, a sorted sample. Taken per GPU, or
per micro-batch, it is another loss than the one the recipe names. Here every objective is written as

    loss = value(totals)

where totals are statistics of two kinds: `sums` are added up over rows, micro-batches and ranks; `rows`, where no sum will
do, are kept whole and strung together. The gradient is exact by the chain rule wherever the latents z live:

    d loss / d z = d value / d totals * d statistics of z's own micro-batch / d z

Each rank makes up the totals (without gradient), differentiates `value` there once an update, and back-propagates the
slopes through its own statistics. No collective is needed in the backward pass, and a micro-batch needs no more than the
slopes of its own statistics.
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
    """What an objective asks of the latents of one micro-batch on one rank; their gradient, where they have one, with it."""

    sums: Sums
    rows: Rows

    def detach(self) -> Statistics:
        return Statistics({k: v.detach() for k, v in self.sums.items()}, {k: v.detach() for k, v in self.rows.items()})


@dataclass(frozen=True)
class Slopes:
    """A loss at the totals of its whole update, and how it changes with the statistics of one micro-batch."""

    terms: Terms  # without gradient
    of: dict[str, Tensor]  # d loss / d statistic, by name, in the statistic's own shape


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def precise(x: Tensor) -> Tensor:
    """At least float32: statistics under bf16 would be noise."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@torch.no_grad()
def over_ranks(sums: Sums) -> Sums:
    """Add up over all ranks in one collective; all sums must share a dtype and a device."""
    if world_size() == 1 or not sums:
        return sums
    flat = torch.cat([value.flatten() for value in sums.values()])
    dist.all_reduce(flat)
    parts = flat.split([value.numel() for value in sums.values()])
    return {name: part.view_as(value) for (name, value), part in zip(sums.items(), parts, strict=True)}


@torch.no_grad()
def from_all_ranks(rows: Rows) -> tuple[Rows, int]:
    """Rows of all ranks, one rank's after another's, and where this rank's begin. Ranks may have different numbers of rows."""
    if world_size() == 1 or not rows:
        return rows, 0
    some = next(iter(rows.values()))
    count = torch.tensor([len(some)], device=some.device)
    counts = [torch.empty_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    lengths = [int(other) for other in counts]
    gathered = {}
    for name, value in rows.items():
        padded = value.new_zeros(max(lengths), *value.shape[1:])
        padded[: len(value)] = value
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        gathered[name] = torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])
    return gathered, sum(lengths[: dist.get_rank()])


@torch.no_grad()
def shared_centers(latents: Latents) -> Centers:
    """Means of a micro-batch on all ranks."""
    context, predicted, target = (precise(some) for some in (latents.context, latents.predicted, latents.target))
    seen, places = latents.context_mask[..., None].to(context.dtype), context.shape[2]

    def by_place(rows: Tensor) -> Tensor:
        return rows.new_zeros(places, rows.shape[1]).index_add(0, latents.place, rows)

    total = over_ranks(
        {
            "context": (context * seen).sum(dim=(0, 1)),
            "seen": seen.sum(dim=(0, 1)),
            "predicted": by_place(predicted),
            "target": by_place(target),
            "asked": by_place(torch.ones_like(predicted[:, :1])),
        }
    )
    asked = total["asked"].clamp(min=1)
    return Centers(total["context"] / total["seen"].clamp(min=1), total["predicted"] / asked, total["target"] / asked)


def evaluate(objective: Objective, parts: Sequence[Statistics]) -> list[Slopes]:
    """The loss of a whole update from the statistics of this rank's micro-batches; what each of them must know of it."""
    parts = [part.detach() for part in parts]
    sums = over_ranks(functools.reduce(_added, (part.sums for part in parts)))
    rows, first = from_all_ranks({name: torch.cat([part.rows[name] for part in parts]) for name in parts[0].rows})
    totals = {name: total.detach().requires_grad_(total.is_floating_point()) for name, total in (sums | rows).items()}
    with torch.enable_grad():
        terms = objective.value(totals)
        loss = torch.stack(list(terms.values())).sum()
    points = {name: total for name, total in totals.items() if total.requires_grad}
    found = torch.autograd.grad(loss, list(points.values()), allow_unused=True)
    slopes = {name: slope for name, slope in zip(points, found, strict=True) if slope is not None}
    terms = {name: term.detach() for name, term in terms.items()}
    told = []
    for part in parts:
        own = slice(first, first := first + len(next(iter(part.rows.values()), ())))
        told.append(Slopes(terms, {name: slope[own] if name in rows else slope for name, slope in slopes.items()}))
    return told


def with_exact_gradient(statistics: Statistics, slopes: Slopes) -> Tensor:
    """A loss with the value of the whole update and, through these statistics, their share of its exact gradient.

    The shares of all ranks and micro-batches add up to the gradient of the whole. As DDP and FSDP average gradients over
    ranks rather than adding them, the share is multiplied by the number of ranks.
    """
    loss = torch.stack(list(slopes.terms.values())).sum()
    here = statistics.sums | statistics.rows
    shares = [(slope * here[name]).sum() for name, slope in slopes.of.items() if here[name].requires_grad]
    if not shares:
        return loss
    share = torch.stack(shares).sum() * world_size()
    return loss + (share - share.detach())


def _added(one: Sums, other: Sums) -> Sums:
    return {name: one[name] + other[name] for name in one}
