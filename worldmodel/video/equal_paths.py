"""Choose pixel formats between the steps of a conversion to RGB: the fastest ones that give the same pixels.

The plain conversion is YUV -> rgb24 at full size -> rgb24 at the requested size. swscale resizes packed RGB without SIMD
code. Two detours give the same pixels faster at most sizes:

    rgba instead of rgb24 before the resize    swscale averages two pixels of 32 bits faster (widths that are at least halved)
    gbrp (planar RGB) after the resize         the vertical filter has SIMD code

Whether the pixels are the same depends on the sizes and on the version of FFmpeg: at a vertical scale of less than two, for
example, the filter of packed RGB may have two taps and rounds in another way. Each combination is therefore tried once per
process on a noise image, and the plain conversion is used unless all pixels are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

FORMATS = {"yuv420p", "yuvj420p"}  # of frames for which the detours are tried
BLOCK_PX = 16  # size of the uniform blocks in half of the noise image, whose values reach black and white


@dataclass(frozen=True)
class Path:
    """Pixel formats between the steps of a conversion to RGB."""

    full_size: str
    resized: str


PLAIN = Path("rgb24", "rgb24")


@dataclass(frozen=True)
class FrameKind:
    """The properties of a decoded frame on which its conversion depends."""

    format: str
    height: int
    width: int
    colorspace: Any
    color_range: Any

    @classmethod
    def of(cls, frame: VideoFrame) -> FrameKind:
        return cls(frame.format.name, frame.height, frame.width, frame.colorspace, frame.color_range)


class Reformatters:
    """The swscale contexts of one conversion. Create them in the process that uses them: they hang after a fork."""

    def __init__(self) -> None:
        self._colour, self._resize, self._pack = VideoReformatter(), VideoReformatter(), VideoReformatter()

    def resized_rgb(self, frame: VideoFrame, height: int, width: int, path: Path) -> VideoFrame:
        """Convert a frame to rgb24 at another size, in one colour conversion and one resize."""
        full = self._colour.reformat(frame, format=path.full_size, threads=1)
        shrinks = height <= full.height and width <= full.width
        method = Interpolation.AREA if shrinks else Interpolation.BILINEAR
        small = self._resize.reformat(full, format=path.resized, width=width, height=height, interpolation=method, threads=1)
        return self._pack.reformat(small, format="rgb24", threads=1)

    def rgb(self, frame: VideoFrame) -> VideoFrame:
        """Convert a frame to rgb24 at its own size."""
        return self._colour.reformat(frame, format="rgb24", threads=1)


@lru_cache(maxsize=256)
def fastest_path(kind: FrameKind, height: int, width: int) -> Path:
    """The formats with which frames of a kind are resized; the pixels are those of PLAIN. Tried once per process."""
    if kind.format not in FORMATS:
        return PLAIN
    halves = 2 * width <= kind.width
    noise = _noise(kind)
    expected = Reformatters().resized_rgb(noise, height, width, PLAIN).to_ndarray()
    for path in (Path("rgba", "gbrp"), Path("rgb24", "gbrp")) if halves else (Path("rgb24", "gbrp"),):
        if np.array_equal(Reformatters().resized_rgb(noise, height, width, path).to_ndarray(), expected):
            return path
    return PLAIN


def _noise(kind: FrameKind) -> VideoFrame:
    """A frame of random bytes: fine noise above, uniform blocks below."""
    rng = np.random.default_rng(0)
    frame = VideoFrame(kind.width, kind.height, kind.format)
    frame.colorspace, frame.color_range = kind.colorspace, kind.color_range
    for plane in frame.planes:
        rows, columns = plane.buffer_size // plane.line_size, plane.line_size
        content = rng.integers(0, 256, (rows, columns), np.uint8)
        below = content[rows // 2 :]
        blocks = below[::BLOCK_PX, ::BLOCK_PX].repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)
        below[...] = blocks[: below.shape[0], :columns]
        plane.update(content.tobytes())
    return frame
