"""How FSDP2 divides a tensor among ranks: consecutive rows (entries of dimension 0), as few ranks as possible with fewer rows.

This module does not import torch.distributed.tensor, which takes a second and 45 MB: sharded tensors are known by a method.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether this is a DTensor, of which each rank holds some rows."""
    return hasattr(tensor, "to_local")


def row_range(rows: int, rank: int, ranks: int) -> tuple[int, int]:
    """The half-open range of rows that a rank holds: ceil(rows / ranks) each; the last ranks have fewer, or none."""
    most = -(-rows // ranks)
    return min(rank * most, rows), min((rank + 1) * most, rows)


def own_rows(tensor: Any) -> tuple[Tensor, int]:
    """The rows of a DTensor that this rank holds, which share its memory, and the index of the first of them.

    Raises ValueError for a tensor that is divided in another way than by FSDP2 on one list of ranks.
    """
    mesh, placements, local = tensor.device_mesh, tensor.placements, tensor.to_local()
    if mesh.ndim != 1 or not (placements[0].is_replicate() or placements[0].is_shard(0)):
        raise ValueError(f"a tensor is divided as {placements} on {mesh}; expected rows on one list of ranks")
    if placements[0].is_replicate():
        return local, 0
    begin, end = row_range(tensor.shape[0], mesh.get_local_rank(), mesh.size())
    if len(local) != end - begin:
        raise ValueError(f"this rank holds {len(local)} rows of {tensor.shape[0]}; expected rows {begin} to {end}")
    return local, begin
