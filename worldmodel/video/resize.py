"""Frames to RGB and to a wanted size. Both backends come through here, so that their sized frames agree as well."""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

Size = int | tuple[int, int] | None


def target_size(height: int, width: int, size: Size) -> tuple[int, int]:
    """(height, width) that `size` asks of a frame: None (as it is), an int (short side, aspect kept), or itself."""
    if size is None:
        return height, width
    if isinstance(size, int):
        scale = size / min(height, width)
        wanted = max(1, round(height * scale)), max(1, round(width * scale))
    else:
        wanted = int(size[0]), int(size[1])
    if min(wanted) < 1:
        raise ValueError(f"size={size!r}: expected a short side in px, or (height, width), of at least 1")
    return wanted


class Film:
    """Frames [T, H, W, 3] being filled, slot by slot. Made inside the process that uses it: a reformatter that is
    carried across a fork hangs."""

    def __init__(self, count: int, size: Size) -> None:
        self._count, self._size = count, size
        self._stored: tuple[int, int] = (0, 0)  # height, width of what the reformatter makes, before rotation
        self._colour, self._resize = VideoReformatter(), VideoReformatter()
        self.frames = np.empty((0, 0, 0, 3), np.uint8)
        self.left = count

    def put(self, slots: list[int], frame: VideoFrame, turn_deg: int) -> None:
        """Draw `frame` (any pixel format), turned clockwise by `turn_deg`, into `slots`."""
        if not self.frames.size:
            self._allocate(frame.height, frame.width, turn_deg)
        rgb = self._colour.reformat(frame, format="rgb24", threads=1)
        height, width = self._stored
        if (rgb.height, rgb.width) != (height, width):  # a size was asked for, or the stream changes its own midway
            shrinks = height <= rgb.height and width <= rgb.width
            method = Interpolation.AREA if shrinks else Interpolation.BILINEAR
            rgb = self._resize.reformat(rgb, width=width, height=height, interpolation=method, threads=1)
        image = np.rot90(rgb.to_ndarray(), -turn_deg // 90)
        for slot in slots:
            self.frames[slot] = image
        self.left -= len(slots)

    def _allocate(self, height: int, width: int, turn_deg: int) -> None:
        """The first frame settles the size of all."""
        sideways = turn_deg % 180 == 90
        shown = target_size(*((width, height) if sideways else (height, width)), self._size)
        self._stored = (shown[1], shown[0]) if sideways else shown
        self.frames = np.empty((self._count, *shown, 3), np.uint8)
