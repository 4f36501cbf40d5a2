"""Rotary position embeddings (Su et al. 2021): positions, their angles, and the rotation of queries and keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

_INTEGERS = {2: torch.int32, 4: torch.int64}  # that hold two features of so many bytes


def grid_positions(steps: int, grid: int | tuple[int, int], device: torch.device) -> Tensor:
    """Time step, row and column of every token of a clip, ordered by time: [steps * rows * columns, 3] int64.

    grid: rows and columns of tokens; one number for as many of each.
    """
    rows, columns = (grid, grid) if isinstance(grid, int) else grid
    axes = (torch.arange(count, device=device) for count in (steps, rows, columns))
    return torch.cartesian_prod(*axes)


def rotary_angles(positions: Tensor, head_dim: int, *, tiled: bool = False, base: float = 10_000.0) -> Tensor:
    """Angles of rotary position embeddings (Su et al. 2021, eq. 15). The features are divided evenly among the axes.

    positions [..., S, A] (A axes, e.g. time, row, column) -> [..., S, head_dim]. Remaining features are not rotated. The two
    neighbouring features that `rotate` rotates together have the same angle. With `tiled`, frequencies are laid out as
    f1..fn, f1..fn, so that neighbours have different angles: not a rotation, but the released V-JEPA 2 weights need it.
    """
    axes = positions.shape[-1]
    pairs = head_dim // 2 // axes
    if pairs == 0:
        raise ValueError(f"a head of {head_dim} features is too narrow for {axes} rotary axes; give it at least {2 * axes}")
    frequency = base ** (-torch.arange(pairs, device=positions.device, dtype=torch.float32) / pairs)
    angles = positions.float()[..., None] * frequency
    angles = repeat(angles, "... a p -> ... (a two p)" if tiled else "... a p -> ... (a p two)", two=2)
    return F.pad(angles, (0, head_dim - angles.shape[-1]))


def rotary_table(angles: Tensor) -> Tensor:
    """Factors of `rotate`, computed once and shared by all blocks: angles [..., S, F] -> [..., S, 2, F].

    The cosine, by which a feature is multiplied, and the sine, by which its neighbour is multiplied before both are added; the
    sine is negative for the first feature of a pair.
    """
    sines = angles.sin()
    return torch.stack((angles.cos(), torch.stack((-sines[..., 0::2], sines[..., 1::2]), dim=-1).flatten(-2)), dim=-2)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate neighbouring pairs of features: x [B, H, S, F], table [S, 2, F] or [B, 1, S, 2, F] -> the shape of x."""
    cosines, sines = table.to(x.dtype).unbind(-2)
    return x * cosines + x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) * sines


def rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """As `rotate`, bit for bit, with few passes over memory, without a gradient: x [..., F], tables that fit its shape."""
    return (x * cosines).add_(_swapped(x).mul_(sines))


def rotate_back_(gradient: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn the gradient [..., F] of the output of `rotated` into that of its input, in place."""
    swapped = _swapped(gradient * sines)
    return gradient.mul_(cosines).add_(swapped)


def _swapped(x: Tensor) -> Tensor:
    """A copy of x in which the two features of each pair have changed places: [..., F]. Without gradient."""
    strides = (*x.stride()[:-1], x.storage_offset())
    if x.element_size() not in _INTEGERS or x.stride(-1) != 1 or any(s % 2 for s in strides):
        return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    # As one integer a pair is swapped by shifts, which processors do on whole vectors: 1.5 times faster than `flip`.
    bits = 8 * x.element_size()
    pairs = x.view(_INTEGERS[x.element_size()])
    swapped = (pairs >> bits).bitwise_and_((1 << bits) - 1).bitwise_or_(pairs << bits)
    return swapped.view(x.dtype)
