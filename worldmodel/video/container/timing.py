"""Check whether the times in a file's packets are those of its frames, before they are used to find frames.

Containers and muxers get this wrong in many ways. AVI and MXF store no presentation times; a stream copied from a raw file
has decoding times instead; joined recordings start their clock again; hidden frames have packets of their own. A
wrong time gives a wrong frame, and nothing else would report it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from worldmodel.video.container.decode_in_order import DecodedTimes, decode_all
from worldmodel.video.container.opening import Video, open_video
from worldmodel.video.container.source import file_version
from worldmodel.video.container.timeline import NO_TIME, Timeline, scan_packets
from worldmodel.video.errors import VideoError

# packets: every packet has the time of its own frame. Frames are found by seeking.
# order: the file has as many times as frames, but not each with its frame. Frame k in the order shown has the k-th time.
# frames: the numbers of packets and frames differ. Only decoded frames state when they are shown.
# With "order" and "frames" a video is decoded from its start: correct, but slower.
Timing = Literal["packets", "order", "frames"]
TIMINGS: tuple[Timing, ...] = ("packets", "order", "frames")

HIDES_FRAMES = {"vp8"}  # codecs with packets that are decoded but not shown
NOT_SEEKABLE = {"gif"}  # has no keyframes to start from
# MPEG-PS has one time for several frames. FFmpeg counts on from it, and counts differently after a seek.
INEXACT_SEEK = {"mpeg"}
FIRST_FRAMES = 24  # frames decoded from the start
PACKETS_AFTER_SEEK = 12
SEEKS = {"mpegts": 4}  # positions at which times after a seek are compared with those of the scan; 1 in other containers


@dataclass(frozen=True)
class TimingAnalysis:
    """Times of a video according to its packets and, if these are not enough, to its decoded frames."""

    timing: Timing
    timeline: Timeline
    ticks: np.ndarray  # int64 [F], never decreasing: when the frames are shown
    ticks_per_s: float
    frame_ticks: float  # average duration of a frame, as the container states it
    start_s: float  # presentation time of the first frame, on the file's clock
    stop_s: float  # when the last frame ends
    reason: str  # why the packets are not trusted; empty if they are


def timing_of(path: Path | str, member: str | None = None) -> Timing:
    """How the frames of a video are found. Analysed once per process and file. Raises VideoError."""
    return _cached_timing(str(path), member, *file_version(path, member))


@lru_cache(maxsize=1 << 16)
def _cached_timing(path: str, member: str | None, _modified_ns: int, _size: int) -> Timing:
    return analyse_timing(path, member).timing


def analyse_timing(path: Path | str, member: str | None = None, thorough: bool = False) -> TimingAnalysis:
    """Scan all packets and decode a few frames; decode all frames if these do not agree, or with `thorough`.

    Raises VideoError; with `thorough` also for a damaged frame.
    """
    with open_video(path, member) as video:
        timeline = scan_packets(video)
        rate, clock = video.ticks_per_s, (video.ticks_per_s, video.frame_ticks)
    if not len(timeline.ticks):
        raise video.no_frames()
    if timeline.cut_off:
        raise video.error("truncated", "the file ends in the middle of a frame")
    reason = _reason_for_distrust(path, member, timeline)
    if not reason and not thorough:
        return TimingAnalysis("packets", timeline, timeline.ticks, *clock, *timeline.span_s(rate), reason="")
    with open_video(path, member) as video:
        decoded = decode_all(video, strict=thorough)
        timing = _classify(video, timeline, decoded)
    if timing == "packets" and reason:
        with open_video(path, member) as video:
            timing = "order" if _reason_after_seeks(video, timeline) else timing
    if timing == "frames":
        start_s, stop_s = float(decoded.ticks[0] / rate), float(decoded.end_tick / rate)
        return TimingAnalysis(timing, timeline, decoded.ticks, *clock, start_s, stop_s, reason)
    reason = "" if timing == "packets" else reason or "decoded frames are not shown at the times of their packets"
    return TimingAnalysis(timing, timeline, timeline.ticks, *clock, *timeline.span_s(rate), reason=reason)


def _classify(video: Video, timeline: Timeline, decoded: DecodedTimes) -> Timing:
    """The timing that follows from all decoded frames."""
    guessed = timeline.reordered and not video.stores_presentation_times  # FFmpeg guesses differently after a seek
    can_seek = video.codec not in NOT_SEEKABLE and video.kind not in INEXACT_SEEK and not guessed
    same = decoded.in_order and np.array_equal(decoded.ticks, timeline.ticks)
    if same and timeline.seekable and can_seek and video.start_tick == timeline.ticks[0]:
        return "packets"
    increasing = bool((np.diff(timeline.ticks) > 0).all())
    return "order" if len(decoded.ticks) == len(timeline.ticks) and increasing else "frames"


def _reason_for_distrust(path: Path | str, member: str | None, timeline: Timeline) -> str:
    """Why the packets may not state when each frame is shown; empty if there is no reason."""
    try:
        with open_video(path, member) as video:
            reason = reason_by_kind(video, timeline) or _reason_by_first_frames(video, timeline)
        if not reason:
            with open_video(path, member) as video:
                reason = _reason_after_seeks(video, timeline)
    except VideoError as error:
        return error.detail  # then all frames are decoded, which decides
    return reason


def reason_by_kind(video: Video, timeline: Timeline) -> str:
    """Why packets of this container and codec may not state when frames are shown; empty if there is no such reason."""
    kind = video.kind
    if video.codec in HIDES_FRAMES | NOT_SEEKABLE:
        return f"packets of {video.codec} are not frames"
    if kind in INEXACT_SEEK:
        return f"{kind} has no time of its own for each frame"
    if not timeline.seekable:
        return "packets without a time, or a clock that starts again"
    if (np.diff(timeline.ticks) == 0).any():
        return "several packets have one time"
    if video.start_tick != timeline.ticks[0]:
        return f"the first frame is shown at tick {timeline.ticks[0]}, the container states {video.start_tick}"
    if video.may_reorder and not video.stores_presentation_times:
        return f"{kind} does not store when frames of {video.codec} are shown"
    return ""


def _reason_by_first_frames(video: Video, timeline: Timeline) -> str:
    ticks = [frame.pts for frame in islice(video.frames(), FIRST_FRAMES)]
    if ticks != timeline.ticks[: len(ticks)].tolist():
        return "the first frames are not shown at the times of their packets"
    if video.stream.codec_context.reorder_depth and not timeline.reordered:
        return "the codec reorders frames, but their packets have times in decoding order"
    return ""


def _reason_after_seeks(video: Video, timeline: Timeline) -> str:
    """Why seeks cannot be used: packets after a seek have other times than the scan found; empty if they do not."""
    keys = np.sort(timeline.key_ticks)
    seeks = SEEKS.get(video.kind, 1)
    for key in [int(keys[len(keys) * (seek + 1) // (seeks + 1)]) for seek in range(seeks) if len(keys) > 1]:
        video.container.seek(key, stream=video.stream, backward=True)
        packets = [packet for packet in islice(video.packets(), PACKETS_AFTER_SEEK) if packet.size]
        if not _contains(timeline.stored, [(packet.pts, packet.size) for packet in packets if not packet.is_discard]):
            return "after a seek, packets have other times than when they are read from the start"
    return ""


def _contains(stored: np.ndarray, packets: list[tuple[int | None, int]]) -> bool:
    """Whether the packets after a seek are a consecutive part of the packets that the scan found."""
    if not packets or packets[0][0] is None:
        return False
    found = np.asarray([(NO_TIME if tick is None else tick, size) for tick, size in packets], np.int64)
    starts = np.flatnonzero((stored == found[0]).all(1))
    return any(np.array_equal(stored[at : at + len(found)], found) for at in starts)
