"""Conversion of weights between our layout and a published one. One table of tensors serves both directions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


class PretrainedError(RuntimeError):
    """A pretrained model cannot be read or written; the message says what does not fit, and what was expected."""


@dataclass(frozen=True)
class TensorPair:
    """A tensor of the published layout and ours. Several of theirs may be one of ours, concatenated along its first axis."""

    theirs: str
    ours: str
    shape: tuple[int, ...] | None = None  # of theirs; None: the shape of ours


def both(theirs: str, ours: str) -> Iterator[TensorPair]:
    """Weight and bias of a layer."""
    yield TensorPair(f"{theirs}.weight", f"{ours}.weight")
    yield TensorPair(f"{theirs}.bias", f"{ours}.bias")


def rest_of_block(theirs: str, ours: str) -> Iterator[TensorPair]:
    """The norms and the MLP of a block, as the original codes of V-JEPA and VideoMAE name it."""
    for name, own in (("norm1", "norm_attention"), ("norm2", "norm_mlp"), ("mlp.fc1", "mlp.0"), ("mlp.fc2", "mlp.2")):
        yield from both(f"{theirs}.{name}", f"{ours}.{own}")


def to_theirs(pairs: Sequence[TensorPair], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert our tensors into the published layout, bit for bit."""
    used: dict[str, int] = defaultdict(int)
    found = {}
    for pair in pairs:
        tensor, shape = state[pair.ours], _shape(pair, state)
        rows = prod(shape) // prod(tensor.shape[1:])
        found[pair.theirs] = tensor[used[pair.ours] : used[pair.ours] + rows].reshape(shape).contiguous()
        used[pair.ours] += rows
    return found


def to_ours(
    pairs: Sequence[TensorPair], tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], source: object
) -> dict[str, Tensor]:
    """Convert tensors of the published layout into ours, bit for bit, in the shapes of `state`.

    Raises PretrainedError that names keys that are missing, unknown or of another shape.
    """
    wanted = {pair.theirs: _shape(pair, state) for pair in pairs}
    problems = [f"{key} is missing" for key in wanted if key not in tensors]
    problems += [f"{key} is not part of this model" for key in tensors if key not in wanted]
    problems += [
        f"{key} is {tuple(tensors[key].shape)}, this model needs {shape}"
        for key, shape in wanted.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    if problems:
        raise PretrainedError(f"weights in {source} do not fit: {named_problems(problems)}")
    pieces: dict[str, list[Tensor]] = defaultdict(list)
    for pair in pairs:
        pieces[pair.ours].append(tensors[pair.theirs].reshape(-1, *state[pair.ours].shape[1:]))
    return {name: torch.cat(rows) for name, rows in pieces.items()}


def named_problems(problems: Sequence[str]) -> str:
    """The first problems of a list, and the number of the others."""
    return "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")


def _shape(pair: TensorPair, state: Mapping[str, Tensor]) -> tuple[int, ...]:
    return tuple(state[pair.ours].shape) if pair.shape is None else pair.shape
