"""Frames to RGB and to a wanted size. Both backends come through here, so that their sized frames agree as well."""

from __future__ import annotations

from math import prod

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from worldmodel.video.errors import MAX_PIXELS
from worldmodel.video.orientation import Orientation

Size = int | tuple[int, int] | None
AS_STORED = Orientation()


def target_size(height: int, width: int, size: Size) -> tuple[int, int]:
    """(height, width) that `size` asks of a frame: None (as shown), an int (short side, aspect kept), or itself."""
    if size is None:
        return height, width
    if not isinstance(size, int):
        return int(size[0]), int(size[1])
    scale = size / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


class Drawer:
    """Frames of any pixel format -> RGB images as shown, of the size that the first one settles.

    Made inside the process that uses it: a reformatter that is carried across a fork hangs.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._shown: tuple[int, int] | None = None  # height, width of every image
        self._colour, self._resize = VideoReformatter(), VideoReformatter()

    def draw(self, frame: VideoFrame, how: Orientation = AS_STORED) -> np.ndarray:
        """The frame as shown, uint8 [H, W, 3]: mirrored, turned and stretched."""
        self._shown = self._shown or target_size(*how.shown_size(frame.height, frame.width), self._size)
        if prod(self._shown) > MAX_PIXELS:
            raise ValueError(f"a picture of {self._shown[1]} x {self._shown[0]} pixels; at most {MAX_PIXELS:,} are read")
        height, width = reversed(self._shown) if how.sideways else self._shown  # before it is turned
        rgb = self._colour.reformat(frame, format="rgb24", threads=1)
        if (rgb.height, rgb.width) != (height, width):  # another size, other pixels, or a stream that changes its size
            shrinks = height <= rgb.height and width <= rgb.width
            method = Interpolation.AREA if shrinks else Interpolation.BILINEAR
            rgb = self._resize.reformat(rgb, width=width, height=height, interpolation=method, threads=1)
        return how.upright(rgb.to_ndarray())


class Film:
    """Frames [T, H, W, 3] being filled, slot by slot."""

    def __init__(self, count: int, size: Size) -> None:
        self._count, self._drawer = count, Drawer(size)
        self.frames = np.empty((0, 0, 0, 3), np.uint8)
        self.left = count

    def put(self, slots: list[int], frame: VideoFrame, how: Orientation = AS_STORED) -> None:
        """Draw `frame` as shown into `slots`."""
        image = self._drawer.draw(frame, how)
        if not self.frames.size:
            self.frames = np.empty((self._count, *image.shape), np.uint8)
        for slot in slots:
            self.frames[slot] = image
        self.left -= len(slots)
