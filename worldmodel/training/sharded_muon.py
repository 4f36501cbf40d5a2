"""Muon for matrices of which each rank holds some rows (FSDP2). The result is that of torch's Muon on whole matrices.

Orthogonalisation needs a whole matrix. Every rank does it for a part of the matrices, at the same time: of as many matrices as
there are ranks, the rows of the i-th are sent to rank i, which returns each rank its rows of the result. So a matrix is
orthogonalised once, and a rank holds one whole matrix at a time. Sent per step and rank: 6 bytes per entry of the hidden
matrices (8 where the device does not multiply in bfloat16), divided by the number of ranks (a gathering on all ranks would
receive 4 bytes per entry of all of them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

from worldmodel.process.devices import multiplies_bfloat16
from worldmodel.training.eager_optimizers import Muon
from worldmodel.training.orthogonalise import adjusted_lr, orthogonalise, smoothed_gradient
from worldmodel.training.row_shards import own_rows, row_range


class ShardedMuon(Muon):
    """Parameters and gradients are DTensors [rows, columns], sharded by rows over the same ranks. All ranks call `step`."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            ranks = parameters[0].device_mesh.size()
            for first in range(0, len(parameters), ranks):
                some = parameters[first : first + ranks]
                directions = _orthogonalise([self._smoothed_gradient(parameter, group) for parameter in some], some, group)
                for parameter, direction in zip(some, directions, strict=True):
                    rows, _ = own_rows(parameter)
                    rows.mul_(1 - group["lr"] * group["weight_decay"])
                    rows.add_(direction, alpha=-adjusted_lr(group["lr"], parameter.shape))
        return loss

    def _smoothed_gradient(self, parameter: Any, group: dict[str, Any]) -> Tensor:
        """Own rows of the gradient after momentum, which is updated."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter.grad)
        gradient, momentum = own_rows(parameter.grad)[0], own_rows(state["momentum_buffer"])[0]
        return smoothed_gradient(gradient, momentum, group)


def _orthogonalise(own: Sequence[Tensor], parameters: Sequence[Any], group: dict[str, Any]) -> list[Tensor]:
    """Orthogonalise at most as many matrices as there are ranks: own rows of each -> own rows of each result."""
    mesh = parameters[0].device_mesh
    rank, ranks = mesh.get_local_rank(), mesh.size()
    sent = [own[i].numel() if i < len(own) else 0 for i in range(ranks)]
    received = [0] * ranks  # entries of this rank's matrix that each rank sends
    if rank < len(own):
        rows, columns = parameters[rank].shape
        for other in range(ranks):
            begin, end = row_range(rows, other, ranks)
            received[other] = (end - begin) * columns
    matrix = _exchange(torch.cat([part.flatten() for part in own]), sent, received, mesh.get_group())
    if rank < len(own):
        matrix = orthogonalise(matrix.view(parameters[rank].shape), group)
    sent_as = torch.bfloat16 if multiplies_bfloat16(matrix.device) else torch.float32  # also by ranks without a matrix
    directions = _exchange(matrix.to(sent_as).flatten(), received, sent, mesh.get_group())
    return [part.view_as(rows) for part, rows in zip(directions.split(sent[: len(own)]), own, strict=True)]


def _exchange(values: Tensor, sent: Sequence[int], received: Sequence[int], ranks: distributed.ProcessGroup) -> Tensor:
    """Send consecutive parts of `values`, one to each rank, and return the parts that all ranks sent to this one."""
    size, values = values.element_size(), values.contiguous()
    found = values.new_empty(sum(received))
    distributed.all_to_all_single(  # as bytes, which every backend can send
        found.view(torch.uint8),
        values.view(torch.uint8),
        [count * size for count in received],
        [count * size for count in sent],
        group=ranks,
    )
    return found
