"""How a stored frame is turned, mirrored and stretched to be shown."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

WIDEST_PIXEL = 10  # an aspect beyond 10:1 or 1:10 is an error of the file, and is ignored
ALMOST_SQUARE = Fraction(1, 100)  # encoders that round a size to even numbers state aspects like 1280:1281


@dataclass(frozen=True)
class Orientation:
    """From stored to shown: mirror left to right, turn clockwise by `turn_deg`, then stretch the width.

    `pixel_aspect` is the width of a stored pixel divided by its height.
    """

    turn_deg: int = 0  # 0, 90, 180 or 270
    mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)

    @property
    def sideways(self) -> bool:
        """Whether stored rows are shown as columns."""
        return self.turn_deg % 180 == 90

    @property
    def shown_pixel_aspect(self) -> Fraction:
        """Width of a pixel divided by its height after turning, before the stretch."""
        return 1 / self.pixel_aspect if self.sideways else self.pixel_aspect

    def shown_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which a stored frame of `height` x `width` px is shown, as by FFmpeg's `scale=iw*sar:ih`."""
        if self.sideways:
            height, width = width, height
        return height, max(1, math.floor(width * self.shown_pixel_aspect + Fraction(1, 2)))

    def upright(self, image: np.ndarray) -> np.ndarray:
        """Mirror and turn [H, W, C]; the stretch is left to whoever resizes."""
        image = image[:, ::-1] if self.mirrored else image
        return np.rot90(image, -self.turn_deg // 90) if self.turn_deg else image


def of(frame: VideoFrame, stream: VideoStream) -> Orientation:
    """From the frame's display matrix, and the pixel aspect of the container, else of the codec (as FFmpeg chooses)."""
    stated = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    turn_deg, mirrored = _of_matrix(frame)
    return Orientation(turn_deg, mirrored, usable_aspect(stated))


def usable_aspect(stated: Fraction | None) -> Fraction:
    """A pixel aspect to go by: 1 where none is stated, where it is absurd, or within a hundredth of 1."""
    if not stated or not Fraction(1, WIDEST_PIXEL) <= stated <= WIDEST_PIXEL or abs(stated - 1) <= ALMOST_SQUARE:
        return Fraction(1)
    return Fraction(stated)


def _of_matrix(frame: VideoFrame) -> tuple[int, bool]:
    """(degrees clockwise to the nearest 90, mirrored) of the frame's display matrix; (0, False) where it has none."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))  # a point (x, y) is shown at (a x + c y, b x + d y)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return round(math.degrees(math.atan2(b - c, a + d)) / 90) * 90 % 360, mirrored
