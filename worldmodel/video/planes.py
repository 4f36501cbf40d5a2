"""Decoded frames as planes Y, U and V at the size of the file, for a conversion to RGB elsewhere (on a GPU).

Only plain frames are taken as planes: 8 bits, 4:2:0, shown whole and as stored. All others are converted to RGB here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from av import VideoFrame

from worldmodel.video.orientation import Orientation
from worldmodel.video.resize import AS_STORED, FrameBuffer, Inside, Size

PixelFormat = Literal["rgb24", "yuv420p"]
Matrix = Literal["bt601", "bt709", "bt2020"]
# FFmpeg's numbers of colour spaces. Where none is stated, swscale takes BT.601.
_MATRICES: dict[int, Matrix] = {1: "bt709", 2: "bt601", 5: "bt601", 6: "bt601", 9: "bt2020"}
_FULL_RANGE = 2  # FFmpeg's number


@dataclass(frozen=True)
class FrameLayout:
    """What the bytes of one frame are. With a matrix, planes Y, U and V, each without gaps; without, RGB [H, W, 3]."""

    height: int
    width: int
    matrix: Matrix | None = None
    full_range: bool = False

    @property
    def chroma_px(self) -> tuple[int, int]:
        """Height and width of the planes U and V."""
        return -(-self.height // 2), -(-self.width // 2)

    @property
    def nbytes(self) -> int:
        if self.matrix is None:
            return 3 * self.height * self.width
        return int(planes_bytes(self.height, self.width))


def planes_bytes(height: Any, width: Any) -> Any:
    """Bytes of one frame as planes. Takes numbers and arrays."""
    return height * width + 2 * -(-height // 2) * -(-width // 2)


def layout_of(frame: VideoFrame, orientation: Orientation = AS_STORED) -> FrameLayout | None:
    """The layout of a decoded frame as planes; None if it has to be converted to RGB."""
    name = frame.format.name
    matrix = _MATRICES.get(int(frame.colorspace))
    if name not in ("yuv420p", "yuvj420p") or matrix is None or orientation != AS_STORED:
        return None
    return FrameLayout(frame.height, frame.width, matrix, name == "yuvj420p" or int(frame.color_range) == _FULL_RANGE)


class FormatChangedError(Exception):
    """Frames of one window have different sizes or colour tags, so that they have to be converted to RGB."""


class PlaneBuffer:
    """The output of a read, like `FrameBuffer`: planes in memory of the caller, or RGB frames where planes are not possible.

    The first frame decides: `layout` is that of its planes, or None for RGB, which is then in `rgb`.
    """

    def __init__(self, count: int, size: Size, out: np.ndarray) -> None:
        """size: of RGB frames. out: uint8 [bytes]; windows that do not fit are converted to RGB."""
        self._count, self._size, self._out = count, size, out
        self._started = False
        self.layout: FrameLayout | None = None
        self.rgb = FrameBuffer(count, size)
        self.missing = count  # slots not filled yet

    def put(self, slots: list[int], frame: VideoFrame, orientation: Orientation = AS_STORED) -> None:
        """Write `frame` into `slots`. Raises FormatChangedError."""
        layout = layout_of(frame, orientation)
        if not self._started:
            self._started = True
            fits = layout is not None and not isinstance(self._size, Inside) and self._count * layout.nbytes <= len(self._out)
            self.layout = layout if fits else None
        if self.layout is None:
            self.rgb.put(slots, frame, orientation)
        elif layout != self.layout:
            raise FormatChangedError
        else:
            for slot in slots:
                _copy_planes(frame, self.layout, self._out[slot * layout.nbytes : (slot + 1) * layout.nbytes])
        self.missing -= len(slots)


def _copy_planes(frame: VideoFrame, layout: FrameLayout, out: np.ndarray) -> None:
    begin = 0
    for plane, (height, width) in zip(frame.planes, ((layout.height, layout.width), *(layout.chroma_px,) * 2), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        out[begin : begin + height * width].reshape(height, width)[...] = rows[:height, :width]
        begin += height * width
