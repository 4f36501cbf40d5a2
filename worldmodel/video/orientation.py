"""How a stored frame is mirrored, turned and stretched to be shown."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

MAX_PIXEL_ASPECT = 10  # an aspect beyond 10:1 or 1:10 is an error of the file and is ignored
ALMOST_SQUARE = Fraction(1, 100)  # encoders that round a size to even numbers state aspects like 1280:1281


@dataclass(frozen=True)
class Orientation:
    """From a stored to a shown frame: mirror left to right, turn clockwise by `turn_deg`, then stretch the width.

    `pixel_aspect` is the width of a stored pixel divided by its height.
    """

    turn_deg: int = 0  # 0, 90, 180 or 270
    mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)

    @property
    def swaps_axes(self) -> bool:
        """Whether stored rows are shown as columns."""
        return self.turn_deg % 180 == 90

    @property
    def shown_pixel_aspect(self) -> Fraction:
        """Width of a pixel divided by its height after turning, before the stretch."""
        return 1 / self.pixel_aspect if self.swaps_axes else self.pixel_aspect

    def shown_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which a stored frame of `height` x `width` px is shown, as by FFmpeg's `scale=iw*sar:ih`."""
        if self.swaps_axes:
            height, width = width, height
        return height, max(1, math.floor(width * self.shown_pixel_aspect + Fraction(1, 2)))

    def upright(self, image: np.ndarray) -> np.ndarray:
        """Mirror and turn an image [H, W, C]. The stretch is left to the code that resizes."""
        image = image[:, ::-1] if self.mirrored else image
        return np.rot90(image, -self.turn_deg // 90) if self.turn_deg else image


def orientation_of(frame: VideoFrame, stream: VideoStream) -> Orientation:
    """Read the orientation of a frame.

    The turn comes from the frame's display matrix. The pixel aspect comes from the container, or else from the codec (FFmpeg
    chooses in the same way).
    """
    stated = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    turn_deg, mirrored = turn_of_matrix(frame)
    return Orientation(turn_deg, mirrored, usable_aspect(stated))


def usable_aspect(stated: Fraction | None) -> Fraction:
    """The pixel aspect to use: 1 if none is stated, if it is implausible, or if it is within a hundredth of 1."""
    if not stated or not Fraction(1, MAX_PIXEL_ASPECT) <= stated <= MAX_PIXEL_ASPECT or abs(stated - 1) <= ALMOST_SQUARE:
        return Fraction(1)
    return Fraction(stated)


def turn_of_matrix(frame: VideoFrame) -> tuple[int, bool]:
    """(degrees clockwise to the nearest 90, mirrored) of the frame's display matrix; (0, False) if it has none."""
    # Not `frame.side_data`, whose container and the frame refer to each other: the frame would keep its memory until the
    # next garbage collection.
    data: Any = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]  # its stub omits the frame
    if data is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))  # a point (x, y) is shown at (a x + c y, b x + d y)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return round(math.degrees(math.atan2(b - c, a + d)) / 90) * 90 % 360, mirrored
