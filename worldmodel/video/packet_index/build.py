"""Make the table of packets of a file, if its frames can be decoded from it with the same pixels as from the container.

That is the case for H.264 in MP4 or MOV whose keyframes all are IDR frames (closed groups of frames), whose packets lie in the
file as the decoder needs them, and whose frames are shown as they are stored. The container keeps what only it knows: turned
frames, pixels that are not square, frames that an edit list hides, clocks that start again.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from worldmodel.storage.urls import is_url
from worldmodel.video.container.opening import Video, open_video
from worldmodel.video.container.source import file_version, locate
from worldmodel.video.errors import VideoError
from worldmodel.video.orientation import Orientation, orientation_of
from worldmodel.video.packet_index.direct import CannotReadDirectlyError, read_directly
from worldmodel.video.packet_index.h264 import UnusualPacketError, frame_kind, has_unit_lengths
from worldmodel.video.packet_index.table import KEYFRAME, PACKET, SIZE, UNREFERENCED, DecoderSettings, PacketTable
from worldmodel.video.read import read_frames
from worldmodel.video.resize import FrameBuffer
from worldmodel.video.selection import Selection

COMPARED_FRAMES = 3  # frames after two keyframes that are decoded in both ways


@dataclass(frozen=True)
class Refusal:
    """Why a file is read through its container: a few words that are the same for all files with this reason."""

    reason: str


def packet_table(path: Path | str, member: str | None = None) -> PacketTable | Refusal:
    """The table of a file whose timing is "packets"; or why it has to be read through its container. Raises VideoError."""
    if is_url(path):
        return Refusal("it lies at a URL")
    if Path(path).is_dir():
        return Refusal("it is a folder of frames")
    version = file_version(path, member)
    with open_video(path, member) as video:
        reason = _reason_by_container(video)
        if reason:
            return Refusal(reason)
        table = _scanned(video, path, locate(path, member)[0], version)
    if isinstance(table, Refusal):
        return table
    if not _is_shown_as_stored(path, member):
        return Refusal("frames are turned or stretched")
    if file_version(path, member) != version:
        return Refusal("it changed meanwhile")
    return table if _gives_the_same_pixels(table, path, member) else Refusal("other pixels than through the container")


def _reason_by_container(video: Video) -> str:
    """Why a file needs its container, from its header; empty if there is no reason."""
    if video.kind != "mov":
        return f"the container is {video.kind}, not MP4"
    if video.codec != "h264":
        return f"the codec is {video.codec}, not H.264"
    if not has_unit_lengths(video.stream.codec_context.extradata or b""):
        return "parameter sets among the frames"
    return ""


def _scanned(video: Video, path: Path | str, offset: int, version: tuple[int, int]) -> PacketTable | Refusal:
    settings = _settings(video)
    rows: list[tuple[int, int, int]] = []
    last, duration = video.start_tick - 1, 0
    with open(path, "rb") as file:
        for packet in video.packets():
            if not packet.size:
                continue
            if packet.is_discard or packet.is_corrupt or packet.pts is None or packet.pos is None:
                return Refusal("hidden or damaged frames, or frames without a time")
            if next(packet.iter_sidedata(), None) is not None:
                return Refusal("packets with side data")
            content = bytes(packet)
            file.seek(offset + packet.pos)
            if file.read(packet.size) != content:
                return Refusal("packets that the container changes")
            try:
                kind = frame_kind(content, settings.extradata)
            except UnusualPacketError as error:
                return Refusal(str(error))
            if packet.is_keyframe and not kind.starts:
                return Refusal("open groups of frames")
            flags = KEYFRAME * kind.starts | UNREFERENCED * (not kind.referenced)
            if packet.size > SIZE or abs(packet.pts - video.start_tick) >= 1 << 31:
                return Refusal("packets or times that are too large")
            rows.append((offset + packet.pos, packet.size | flags, packet.pts - video.start_tick))
            if packet.pts > last:
                last, duration = packet.pts, packet.duration or 0
    packets = np.array(rows, PACKET)
    if not _is_ordered(packets):
        return Refusal("groups of frames that overlap in time, or a clock that starts again")
    return PacketTable(
        decoder=settings,
        file_bytes=version[1],
        modified_ns=version[0],
        time_base=video.stream.time_base or Fraction(1),
        frame_rate=video.stream.average_rate or Fraction(0),
        start_tick=video.start_tick,
        end_tick=last + video.last_frame_ticks(duration),
        packets=packets,
    )


def _settings(video: Video) -> DecoderSettings:
    codec = video.stream.codec_context
    return DecoderSettings(
        codec=codec.name,
        pixel_format=codec.pix_fmt or "",
        width=codec.width,
        height=codec.height,
        color_range=codec.color_range,
        colorspace=codec.colorspace,
        color_primaries=codec.color_primaries,
        color_trc=codec.color_trc,
        reorder_depth=codec.reorder_depth,
        extradata=codec.extradata or b"",
    )


def _is_ordered(packets: np.ndarray) -> bool:
    """Whether every group of frames begins with the keyframe that is shown first, and ends before the next group begins."""
    if not len(packets) or not packets["size"][0] & KEYFRAME or packets["tick"][0] != 0:
        return False
    ticks, keys = packets["tick"], np.flatnonzero(packets["size"] & KEYFRAME)
    first, last = np.minimum.reduceat(ticks, keys), np.maximum.reduceat(ticks, keys)
    distinct = len(np.unique(ticks)) == len(ticks)
    return distinct and np.array_equal(first, ticks[keys]) and bool((last[:-1] < first[1:]).all())


def _is_shown_as_stored(path: Path | str, member: str | None) -> bool:
    with open_video(path, member) as video:
        frame = next(video.frames(), None)
        return frame is not None and orientation_of(frame, video.stream) == Orientation()


def _gives_the_same_pixels(table: PacketTable, path: Path | str, member: str | None) -> bool:
    """Compare frames after the first and after the middle keyframe with those that are read through the container."""
    middle = int(table.keys[len(table.keys) // 2])
    numbers = {first + k for first in (0, middle) for k in range(COMPARED_FRAMES) if first + k < len(table.packets)}
    selection = Selection(None, sorted(numbers))
    buffer = FrameBuffer(len(selection), None)
    try:
        read_directly(table, path, selection, buffer)
        expected = read_frames(path, indices=sorted(numbers), member=member, timing="packets")
    except (CannotReadDirectlyError, VideoError):
        return False
    return np.array_equal(buffer.frames, expected)
