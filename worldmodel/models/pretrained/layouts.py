"""Weights in other people's layouts: which tensor of theirs is which part of ours. One table serves both directions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


class PretrainedError(RuntimeError):
    """A pretrained model cannot be read or written; says what does not fit, and what would."""


@dataclass(frozen=True)
class Part:
    """One of their tensors. Where several are parts of one of ours, they follow one another along its first axis."""

    theirs: str
    ours: str
    shape: tuple[int, ...] | None = None  # theirs, where it differs from ours


def to_theirs(parts: Sequence[Part], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by their names, bit for bit."""
    used: dict[str, int] = defaultdict(int)
    found = {}
    for part in parts:
        tensor, shape = state[part.ours], _shape(part, state)
        rows = prod(shape) // prod(tensor.shape[1:])
        found[part.theirs] = tensor[used[part.ours] : used[part.ours] + rows].reshape(shape).contiguous()
        used[part.ours] += rows
    return found


def to_ours(
    parts: Sequence[Part], tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], where: object
) -> dict[str, Tensor]:
    """Their tensors by our names, bit for bit, in the shapes that `state` has.

    Raises PretrainedError that names every key which is missing, unknown or of another shape.
    """
    wanted = {part.theirs: _shape(part, state) for part in parts}
    problems = [f"{key} is missing" for key in wanted if key not in tensors]
    problems += [f"{key} has no place in this model" for key in tensors if key not in wanted]
    problems += [
        f"{key} is {tuple(tensors[key].shape)}, this model needs {shape}"
        for key, shape in wanted.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    if problems:
        shown = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise PretrainedError(f"weights in {where} do not fit: {shown}")
    pieces: dict[str, list[Tensor]] = defaultdict(list)
    for part in parts:
        pieces[part.ours].append(tensors[part.theirs].reshape(-1, *state[part.ours].shape[1:]))
    return {name: torch.cat(rows) for name, rows in pieces.items()}


def _shape(part: Part, state: Mapping[str, Tensor]) -> tuple[int, ...]:
    return tuple(state[part.ours].shape) if part.shape is None else part.shape
