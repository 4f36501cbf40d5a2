"""Convert decoded frames to RGB at a requested size. Both backends use this code, so that their resized frames agree."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
from av import VideoFrame

from worldmodel.video.crop_rectangle import CropRectangle
from worldmodel.video.equal_paths import PLAIN, FrameKind, Reformatters, fastest_path
from worldmodel.video.errors import MAX_PIXELS
from worldmodel.video.orientation import Orientation

AS_STORED = Orientation()


@dataclass(frozen=True)
class Cover:
    """The smallest size, aspect kept, from which a rectangle of this height and width can be cut out."""

    height: int
    width: int


WholeSize = int | tuple[int, int] | Cover | None


@dataclass(frozen=True)
class Inside:
    """The size of a rectangle of the frame, which is cut out before it is resized: nothing outside is blended in."""

    rectangle: CropRectangle
    size: WholeSize


Size = WholeSize | Inside


def inside(rectangle: CropRectangle | None, size: WholeSize) -> Size:
    """The size of a rectangle of the frame, or of the whole frame."""
    return size if rectangle is None else Inside(rectangle, size)


def fixed_size(height: int, width: int, size: Size) -> Size:
    """The size of all frames of a video whose first frame is shown at this height and width."""
    if not isinstance(size, Inside):
        return target_size(height, width, size)
    rows, columns = size.rectangle.pixels(height, width)
    return Inside(size.rectangle, target_size(rows.stop - rows.start, columns.stop - columns.start, size.size))


def target_size(height: int, width: int, size: WholeSize) -> tuple[int, int]:
    """(height, width) of a frame: as shown if `size` is None; an int is the short side, aspect kept; or `size` itself."""
    if size is None:
        return height, width
    if isinstance(size, Cover):
        scale = max(size.height / height, size.width / width)
        return max(size.height, round(height * scale)), max(size.width, round(width * scale))
    if not isinstance(size, int):
        return int(size[0]), int(size[1])
    scale = size / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


class FrameConverter:
    """Converts frames of any pixel format to upright RGB images. The first frame determines the size of all of them.

    Create it in the process that uses it: a reformatter hangs after a fork.
    """

    def __init__(self, size: Size) -> None:
        self._rectangle = size.rectangle if isinstance(size, Inside) else None
        self._size = size.size if isinstance(size, Inside) else size
        self._shown: tuple[int, int] | None = None  # height and width of every image
        self._reformatters = Reformatters()

    def convert(self, frame: VideoFrame, orientation: Orientation = AS_STORED) -> np.ndarray:
        """Return the frame as shown, uint8 [H, W, 3]: mirrored, turned and stretched."""
        if self._rectangle is not None:
            return self._convert_inside(frame, orientation, self._rectangle)
        self._shown = self._shown or target_size(*orientation.shown_size(frame.height, frame.width), self._size)
        if prod(self._shown) > MAX_PIXELS:
            raise ValueError(f"a frame of {self._shown[1]} x {self._shown[0]} pixels; at most {MAX_PIXELS:,} are read")
        height, width = reversed(self._shown) if orientation.swaps_axes else self._shown  # before it is turned
        if (frame.height, frame.width) == (height, width):
            rgb = self._reformatters.rgb(frame)
        else:  # also where pixels are not square, or the stream changes size
            path = fastest_path(FrameKind.of(frame), height, width)
            rgb = self._reformatters.resized_rgb(frame, height, width, path)
        return orientation.upright(rgb.to_ndarray())

    def _convert_inside(self, frame: VideoFrame, orientation: Orientation, rectangle: CropRectangle) -> np.ndarray:
        """Return a rectangle of the frame as if it were a video of its own."""
        whole = orientation.upright(self._reformatters.rgb(frame).to_ndarray())
        part = VideoFrame.from_ndarray(np.ascontiguousarray(whole[rectangle.pixels(*whole.shape[:2])]), format="rgb24")
        stretch = Orientation(pixel_aspect=orientation.shown_pixel_aspect)
        self._shown = self._shown or target_size(*stretch.shown_size(part.height, part.width), self._size)
        if prod(self._shown) > MAX_PIXELS:
            raise ValueError(f"a frame of {self._shown[1]} x {self._shown[0]} pixels; at most {MAX_PIXELS:,} are read")
        if (part.height, part.width) == self._shown:
            return part.to_ndarray()
        return self._reformatters.resized_rgb(part, *self._shown, PLAIN).to_ndarray()


class Buffer(Protocol):
    """The output of a read. `missing`: slots not filled yet."""

    missing: int

    def put(self, slots: list[int], frame: VideoFrame, orientation: Orientation = AS_STORED) -> None:
        """Write a decoded frame into `slots`."""


class FrameBuffer:
    """The output of a read, uint8 [T, H, W, 3], which is filled frame by frame."""

    def __init__(self, count: int, size: Size) -> None:
        self._count, self._converter = count, FrameConverter(size)
        self.frames = np.empty((0, 0, 0, 3), np.uint8)
        self.missing = count  # slots not filled yet

    def put(self, slots: list[int], frame: VideoFrame, orientation: Orientation = AS_STORED) -> None:
        """Convert `frame` and write it into `slots`."""
        image = self._converter.convert(frame, orientation)
        if not self.frames.size:
            self.frames = np.empty((self._count, *image.shape), np.uint8)
        for slot in slots:
            self.frames[slot] = image
        self.missing -= len(slots)
