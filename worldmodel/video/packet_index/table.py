"""The packets of one file: when each frame is shown, where its bytes lie, and what its decoder needs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

# offset: bytes from the start of the file. size: bytes, and the two flags. tick: when the frame is shown, since the first one.
PACKET = np.dtype([("offset", "<i8"), ("size", "<u4"), ("tick", "<i4")])
KEYFRAME = 1 << 31
UNREFERENCED = 1 << 30  # no other frame refers to this one
SIZE = UNREFERENCED - 1  # the bits of `size` that are the size


@dataclass(frozen=True)
class DecoderSettings:
    """What a decoder has to know before the first packet. Files with equal settings can share a decoder."""

    codec: str  # FFmpeg's name
    pixel_format: str
    width: int
    height: int
    color_range: int  # these four are FFmpeg's numbers
    colorspace: int
    color_primaries: int
    color_trc: int
    reorder_depth: int  # frames that the decoder holds back
    extradata: bytes  # parameter sets


@dataclass(frozen=True)
class PacketTable:
    """The packets of one file in the order of the file. A tick is a unit of the file's clock."""

    decoder: DecoderSettings
    file_bytes: int
    modified_ns: int  # the table is valid while size and time of the last change are these
    time_base: Fraction  # seconds per tick
    frame_rate: Fraction  # average, as the container states it; 0: not stated
    start_tick: int  # presentation time of the first frame
    end_tick: float  # when the last frame ends
    packets: np.ndarray  # PACKET [P]

    @cached_property
    def ticks_per_s(self) -> float:
        return 1.0 / float(self.time_base)

    @cached_property
    def frame_ticks(self) -> float:
        """Average duration of a frame in ticks."""
        return self.ticks_per_s / float(self.frame_rate or 25)

    @cached_property
    def keys(self) -> np.ndarray:
        """Positions of the keyframes, int64 [K]. Each begins a group of frames that refer only to one another."""
        return np.flatnonzero(self.packets["size"] & KEYFRAME)

    @cached_property
    def key_ticks(self) -> np.ndarray:
        """When the keyframes are shown, int32 [K], increasing."""
        return np.asarray(self.packets["tick"][self.keys])
