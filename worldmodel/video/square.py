"""Square frames: models see squares, videos are seldom square."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from worldmodel.video.container.timing import Timing
from worldmodel.video.read import Backend, read_frames

Square = Literal["squeeze", "crop"]  # the whole picture, squeezed; or the square in its centre
SEEN: dict[Square, str] = {
    "squeeze": "the whole of each frame, squeezed into a square",
    "crop": "the central square of each frame; what lies beside it is cut away",
}
Frames = TypeVar("Frames", bound=Any)  # an array or a tensor


def read_square(
    path: Path | str,
    size_px: int,
    how: Square,
    *,
    times_s: Sequence[float] | np.ndarray | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
    at: float | None = None,
    member: str | None = None,
    backend: Backend = "pyav",
    folder_fps: float = 10.0,
    timing: Timing | None = None,
) -> np.ndarray:
    """Read frames as `read_frames` does, made square: uint8 [T, size_px, size_px, 3].

    how: "crop" cuts the square out of frames whose short side is `size_px`; "squeeze" shows all of the frame.
    at: where along the long side the square is cut out, see `cut_square`.
    """
    size = size_px if how == "crop" else (size_px, size_px)
    frames = read_frames(
        path,
        times_s=times_s,
        indices=indices,
        size=size,
        member=member,
        backend=backend,
        folder_fps=folder_fps,
        timing=timing,
    )
    return np.ascontiguousarray(cut_square(frames, at))


def add_square(parser: argparse.ArgumentParser) -> None:
    """--square, which is "squeeze" unless it is given: an impossible event near the border must not be cut away."""
    said = f"what the model sees: {'; or '.join(f'{how}, {words}' for how, words in SEEN.items())} (default squeeze)"
    parser.add_argument("--square", choices=tuple(SEEN), default="squeeze", help=said)


def cut_square(frames: Frames, at: float | None = None) -> Frames:
    """The square as large as the short side: [..., H, W, C] -> [..., S, S, C], a view. Takes arrays and tensors.

    at: where along the long side it begins, from 0 (left or top) to 1 (right or bottom); None for the centre.
    """
    height, width = frames.shape[-3:-1]
    side = min(height, width)
    top, left = (spare // 2 if at is None else round(at * spare) for spare in (height - side, width - side))
    cut: Frames = frames[..., top : top + side, left : left + side, :]
    return cut
