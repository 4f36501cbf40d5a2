"""Spatial geometry: how frames become the squares or rectangles that models see. Videos are seldom square."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from av import VideoFrame

from worldmodel.video.backends import Backend
from worldmodel.video.container.timing import Timing
from worldmodel.video.crop_rectangle import CropRectangle
from worldmodel.video.frame_folder.frames import FOLDER_FPS
from worldmodel.video.orientation import Orientation
from worldmodel.video.planes import FrameLayout
from worldmodel.video.read import fill_buffer, read_frames, read_planes
from worldmodel.video.resize import AS_STORED, Cover, FrameConverter, Size, inside

Geometry = Literal["center_crop", "resize"]
GEOMETRIES: dict[Geometry, str] = {
    "center_crop": "the centre square of each frame, as in training; what lies beside it is cut off",
    "resize": "the whole frame, resized to a square, as in the protocols of published benchmarks",
}
Frames = TypeVar("Frames", bound=Any)  # an array or a tensor


def read_square_frames(
    path: Path | str,
    size_px: int | tuple[int, int],
    geometry: Geometry,
    *,
    times_s: Sequence[float] | np.ndarray | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
    position: float | None = None,
    member: str | None = None,
    backend: Backend = "pyav",
    folder_fps: float = FOLDER_FPS,
    timing: Timing | None = None,
    packet_index: str | None = None,
    rectangle: CropRectangle | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Read frames as `read_frames` does and make them square: uint8 [T, size_px, size_px, 3].

    size_px: side of the square; or height and width of a rectangle: uint8 [T, height, width, 3].
    geometry: "center_crop" resizes the short side to `size_px` and cuts out a square; "resize" resizes the whole frame.
    position: where along the long side the square is cut out, see `crop_square`; None for the centre.
    rectangle: what is read of each frame, as if it were the whole frame; None for the whole frame.
    out: memory to write the result into, which is returned; it may be partly written when an error is raised.
    """
    height, width = (size_px, size_px) if isinstance(size_px, int) else size_px
    size = inside(rectangle, covering_size(size_px) if geometry == "center_crop" else (height, width))
    if out is not None and backend == "pyav" and (member is not None or not os.path.isdir(path)):
        where: dict[str, Any] = {"times_s": times_s, "indices": indices, "member": member}
        memory = out
        fill_buffer(lambda: SquareBuffer(size, position, memory), path, **where, timing=timing, packet_index=packet_index)
        return out
    frames = read_frames(
        path,
        times_s=times_s,
        indices=indices,
        size=size,
        member=member,
        backend=backend,
        folder_fps=folder_fps,
        timing=timing,
        packet_index=packet_index,
    )
    square: np.ndarray = crop(frames, (height, width), position)
    if out is None:
        return np.ascontiguousarray(square)
    out[...] = square
    return out


def square_pictures(pictures: np.ndarray, size_px: int) -> np.ndarray:
    """Pictures as `read_square_frames` reads them with "center_crop": uint8 [N, H, W, 3] -> [N, size_px, size_px, 3].

    So a camera or an environment shows a model the pixels of a video without loss of the same pictures.
    """
    if pictures.shape[1:3] == (size_px, size_px):
        return pictures
    out = np.empty((len(pictures), size_px, size_px, 3), np.uint8)
    buffer = SquareBuffer(size_px, None, out)
    for number, picture in enumerate(pictures):
        buffer.put([number], VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))
    return out


class SquareBuffer:
    """The output of a read, uint8 [T, height, width, 3]: of each frame, no more is written than what is cut out of it."""

    def __init__(self, size: Size, position: float | None, out: np.ndarray) -> None:
        """size: of whole frames; position: see `crop`; out: memory of the caller."""
        self._position, self._out, self._converter = position, out, FrameConverter(size)
        self.missing = len(out)  # slots not filled yet

    def put(self, slots: list[int], frame: VideoFrame, orientation: Orientation = AS_STORED) -> None:
        """Convert `frame`, and write its square into `slots`."""
        height, width = self._out.shape[1:3]
        square = crop(self._converter.convert(frame, orientation), (height, width), self._position)
        if square.shape != self._out.shape[1:]:  # else numpy would repeat rows to fill the memory
            raise ValueError(f"a frame of {list(square.shape)}, expected {list(self._out.shape[1:])}")
        for slot in slots:
            self._out[slot] = square
        self.missing -= len(slots)


def read_square_planes(
    path: Path | str,
    size_px: int | tuple[int, int],
    out: np.ndarray,
    *,
    times_s: Sequence[float] | None = None,
    indices: Sequence[int] | None = None,
    position: float | None = None,
    member: str | None = None,
    folder_fps: float = FOLDER_FPS,
    timing: Timing | None = None,
    packet_index: str | None = None,
    rectangle: CropRectangle | None = None,
) -> FrameLayout:
    """Read frames into `out`, uint8 [bytes]: planes of the whole frame, or RGB that is resized and cut out already.

    The frames of one window follow one another. Their layout says which of both they are; see `read_planes`. Planes are
    resized and cut out elsewhere (`worldmodel.data.planar`). Other arguments are those of `read_square_frames` with
    "center_crop". RGB needs 3 bytes per pixel of the square in `out`.
    """
    height, width = (size_px, size_px) if isinstance(size_px, int) else size_px
    found = read_planes(
        path,
        out,
        times_s=times_s,
        indices=indices,
        size=inside(rectangle, covering_size(size_px)),
        member=member,
        folder_fps=folder_fps,
        timing=timing,
        packet_index=packet_index,
    )
    if isinstance(found, FrameLayout):
        return found
    square = crop(found, (height, width), position)
    out[: square.size].reshape(square.shape)[...] = square
    return FrameLayout(height, width)


def covering_size(size_px: int | tuple[int, int]) -> int | Cover:
    """The size at which frames are read to cut out a square with this side, or a rectangle of this height and width."""
    return size_px if isinstance(size_px, int) else Cover(*size_px)


def crop_square(frames: Frames, position: float | None = None) -> Frames:
    """Cut out a square as large as the short side: [..., H, W, C] -> [..., S, S, C], a view. Takes arrays and tensors.

    position: where along the long side it begins, from 0 (left or top) to 1 (right or bottom); None for the centre.
    """
    side = min(frames.shape[-3:-1])
    return crop(frames, (side, side), position)


def crop(frames: Frames, size: tuple[int, int], position: float | None = None) -> Frames:
    """Cut out a rectangle of `size` (height, width): [..., H, W, C] -> [..., height, width, C], a view; see `crop_square`."""
    (height, width), whole = size, frames.shape[-3:-1]
    top, left = (spare // 2 if position is None else round(position * spare) for spare in (whole[0] - height, whole[1] - width))
    cut: Frames = frames[..., top : top + height, left : left + width, :]
    return cut


def add_geometry(parser: argparse.ArgumentParser, default: Geometry | None, default_help: str) -> None:
    """Add the flag --geometry to a command. `default_help` describes the default."""
    choices = "; ".join(f"{name}: {meaning}" for name, meaning in GEOMETRIES.items())
    help_text = f"how frames that are not square become square. {choices} (default: {default_help})"
    parser.add_argument("--geometry", choices=tuple(GEOMETRIES), default=default, help=help_text)
