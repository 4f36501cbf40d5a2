"""Convert decoded frames to RGB at a requested size. Both backends use this code, so that their resized frames agree."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from av import VideoFrame

from worldmodel.video.equal_paths import FrameKind, Reformatters, fastest_path
from worldmodel.video.errors import MAX_PIXELS
from worldmodel.video.orientation import Orientation

AS_STORED = Orientation()


@dataclass(frozen=True)
class Cover:
    """The smallest size, aspect kept, from which a rectangle of this height and width can be cut out."""

    height: int
    width: int


Size = int | tuple[int, int] | Cover | None


def target_size(height: int, width: int, size: Size) -> tuple[int, int]:
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
        self._size = size
        self._shown: tuple[int, int] | None = None  # height and width of every image
        self._reformatters = Reformatters()

    def convert(self, frame: VideoFrame, orientation: Orientation = AS_STORED) -> np.ndarray:
        """Return the frame as shown, uint8 [H, W, 3]: mirrored, turned and stretched."""
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
