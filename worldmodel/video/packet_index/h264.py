"""The parts of a packet of H.264: whether decoding can start at it, and whether other frames refer to it.

ITU-T H.264, section 7.3.1 (NAL units) and table 7-1 (their types). Packets of MP4 have the form of ISO/IEC 14496-15: each unit
follows its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SLICE, _IDR_SLICE, _SEI, _SPS, _PPS, _DELIMITER, _FILLER = 1, 5, 6, 7, 8, 9, 12
_WITHOUT_PIXELS = {_SEI, _DELIMITER, _FILLER}


class UnusualPacketError(ValueError):
    """A packet that needs more than the decoder settings and itself."""


@dataclass(frozen=True)
class FrameKind:
    """What the packet of a frame is for other frames."""

    starts: bool  # an IDR frame: no later frame refers to an earlier one
    referenced: bool


def has_unit_lengths(extradata: bytes) -> bool:
    """Whether extradata is an AVC decoder configuration record, as in MP4, and not a byte stream."""
    return len(extradata) > 6 and extradata[0] == 1


def frame_kind(packet: bytes, extradata: bytes) -> FrameKind:
    """Read the headers of a packet's units. Raises UnusualPacketError.

    Parameter sets are allowed among the frames if the extradata has the same ones.
    """
    starts: set[bool] = set()
    referenced = False
    for unit in _units(packet, length_bytes=(extradata[4] & 3) + 1):
        kind, importance = unit[0] & 31, unit[0] >> 5 & 3
        if kind in (_SLICE, _IDR_SLICE):
            starts.add(kind == _IDR_SLICE)
            referenced = referenced or importance > 0
        elif kind in (_SPS, _PPS):
            if unit not in extradata:
                raise UnusualPacketError("parameter sets that change")
        elif kind not in _WITHOUT_PIXELS:
            raise UnusualPacketError(f"NAL units of type {kind}")
    if len(starts) != 1:
        raise UnusualPacketError("packets that are not one frame")
    return FrameKind(starts.pop(), referenced)


def _units(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at < len(packet):
        begin = at + length_bytes
        length = int.from_bytes(packet[at:begin], "big")
        at = begin + length
        if not length or at > len(packet):
            raise UnusualPacketError("packets that are damaged")
        yield packet[begin:at]
