"""Losses of a whole global batch, exact on any number of ranks and micro-batches.

A regulariser such as VICReg is a function of statistics of the batch: a count, a sum, a Gram matrix. Taken per GPU, or per
micro-batch, it is another loss than the one the recipe names. Here every objective is written as

    loss = value(totals),    totals = sum over ranks, micro-batches and rows of sums(latents)

so the gradient is exact by the chain rule wherever the rows live: d loss/d z = d value/d totals * d sums/d z. Each rank
adds up the totals (without gradient), differentiates `value` there, and back-propagates the product through its own rows.
No collective is needed in the backward pass, and a micro-batch needs no more than the totals of the whole update.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from worldmodel.latents import Latents

Sums = dict[str, Tensor]  # additive: over rows, micro-batches and ranks
Terms = dict[str, Tensor]  # weighted scalars that add up to a loss


class Objective(nn.Module, ABC):
    """One idea of what latents should be like."""

    @abstractmethod
    def sums(self, latents: Latents, center: Tensor) -> Sums:
        """Additive statistics of these rows, with gradient; second moments about `center` [N, D], the same for all rows."""

    @abstractmethod
    def value(self, totals: Sums) -> Terms:
        """The terms of the loss, weighted, from the statistics of the whole global batch."""


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def precise(x: Tensor) -> Tensor:
    """At least float32: statistics under bf16 would be noise."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@torch.no_grad()
def over_ranks(sums: Sums) -> Sums:
    """Add up over all ranks in one collective; all sums must share a dtype and a device."""
    if world_size() == 1:
        return {name: value.detach() for name, value in sums.items()}
    flat = torch.cat([value.detach().flatten() for value in sums.values()])
    dist.all_reduce(flat)
    parts = flat.split([value.numel() for value in sums.values()])
    return {name: part.view_as(value) for (name, value), part in zip(sums.items(), parts, strict=True)}


def added(a: Sums, b: Sums) -> Sums:
    return {name: a[name] + b[name] for name in a}


@torch.no_grad()
def shared_center(latents: Tensor, mask: Tensor) -> Tensor:
    """Mean of every place over clips, time and ranks, without gradient: [B, T, N, D], [B, T, N] -> [N, D].

    Second moments are taken about it: about zero, float32 loses a standard deviation of 1e-3 beside a mean of 1.
    """
    rows, seen = precise(latents), precise(mask)[..., None]
    total = over_ranks({"sum": (rows * seen).sum(dim=(0, 1)), "count": seen.sum(dim=(0, 1)).to(rows.dtype)})
    return total["sum"] / total["count"].clamp(min=1)


def with_exact_gradient(value: Callable[[Sums], Terms], sums: Sums, totals: Sums) -> tuple[Tensor, Terms]:
    """(loss, terms): the loss has the value at `totals` and, through this rank's `sums`, its share of the exact gradient.

    The shares of all ranks and micro-batches add up to the gradient of `value(totals)`. As DDP and FSDP average gradients
    over ranks rather than adding them, the share is multiplied by the number of ranks. Terms carry no gradient.
    """
    points = {name: total.detach().requires_grad_() for name, total in totals.items()}
    with torch.enable_grad():
        terms = value(points)
        loss = torch.stack(list(terms.values())).sum()
    terms = {name: term.detach() for name, term in terms.items()}
    if not any(part.requires_grad for part in sums.values()):
        return loss.detach(), terms
    slopes = torch.autograd.grad(loss, list(points.values()), allow_unused=True)
    shares = [(slope * part).sum() for slope, part in zip(slopes, sums.values(), strict=True) if slope is not None]
    share = torch.stack(shares).sum() * world_size()
    return loss.detach() + (share - share.detach()), terms
