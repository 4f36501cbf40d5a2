"""When the frames of a file are shown, read from its packets. Nothing is decoded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from av.packet import Packet

from worldmodel.video.container.opening import Video
from worldmodel.video.selection import Selection, check_frame_numbers, check_time

CLOCK_MAY_JUMP = 0x200  # FFmpeg's AVFMT_TS_DISCONT, set for MPEG-TS, MPEG-PS and Ogg
LONGEST_GAP_S = 10.0  # in those containers a longer gap is a jump of the clock, as for the ffmpeg command line tool
JITTER_S = 0.1  # decoding times may go back by this much without being a jump
NO_TIME = -(2**63)  # stands for the missing time of a packet in Timeline.stored


@dataclass(frozen=True)
class Timeline:
    """Times of a stream's frames in ticks of the stream. P packets in the order of the file, F frames."""

    ticks: np.ndarray  # int64 [F], never decreasing: when the frames that can be decoded are shown
    key_ticks: np.ndarray  # int64: presentation times of keyframes, in the order of the file
    stored: np.ndarray  # int64 [<= P, 2]: (presentation time, size in bytes) of each packet, in the order of the file
    end_tick: float  # when the last frame ends
    packets: int  # P, including packets that an edit list hides
    cut_off: bool  # only a part of the last packet is there
    reordered: bool  # some packet is shown before a packet that precedes it in the file
    seekable: bool  # every packet has a presentation time, and these are the ticks: the clock never jumps

    def span_s(self, ticks_per_s: float) -> tuple[float, float]:
        """When the first frame is shown and when the last one ends, in seconds on the file's clock."""
        return float(self.ticks[0] / ticks_per_s), float(self.end_tick / ticks_per_s)


class _MonotonicClock:
    """Turns decoding times of packets into times that never go back.

    If the file's clock starts again or jumps ahead, the later packets follow the earlier ones without a gap.
    """

    def __init__(self, video: Video) -> None:
        self._may_jump = bool(video.container.format.flags & CLOCK_MAY_JUMP)
        self._longest_gap = LONGEST_GAP_S * video.ticks_per_s
        self._jitter = JITTER_S * video.ticks_per_s
        self._frame_ticks = round(video.frame_ticks)
        self._last: int | None = None
        self._next = 0
        self.latest = -math.inf  # latest presentation time so far
        self.offset = 0  # to add to the file's times
        self.jumps = 0

    def tick(self, packet: Packet) -> int | None:
        """The time at which a packet is decoded; None until a packet has a time."""
        if packet.dts is None:
            tick = None if self._last is None else self._next
        else:
            tick = packet.dts + self.offset
            if self._last is not None and self._is_jump(self._last, tick):
                self.offset += self._next - tick
                self.jumps += 1
                tick = self._next
        if tick is not None:
            tick = tick if self._last is None else max(tick, self._last)
            self._last, self._next = tick, tick + (packet.duration or self._frame_ticks)
        if packet.pts is not None:
            self.latest = max(self.latest, packet.pts + self.offset)
        return tick

    def _is_jump(self, last: int, tick: int) -> bool:
        """Whether the clock goes back, or far ahead.

        If a frame that was decoded earlier is shown after the gap, the gap belongs to the video and is no jump.
        """
        back = tick < last - self._jitter
        return back or (self._may_jump and tick - self._next > self._longest_gap and self.latest < tick)


def scan_packets(video: Video, until: int | None = None) -> Timeline:
    """Read the packets of all frames, or at least those of the first `until` frames.

    The ticks are the presentation times of the packets. If the container stores only decoding times, or omits some
    presentation times, the ticks follow from the decoding times and the delay of the codec. Frames before the first keyframe
    (in a recording that begins in the middle of a broadcast) cannot be decoded and have no tick.
    """
    clock = _MonotonicClock(video)
    shown: list[int] = []  # presentation times, since the first keyframe
    decoding: list[int | None] = []
    stored: list[tuple[int, int]] = []
    keys: list[int] = []
    packets, cut_off, last_duration = 0, False, video.frame_ticks
    first_key: int | None = None  # presentation time of the first keyframe
    for packet in video.packets():
        if not packet.size:  # the flush at the end, or a frame that the file omits
            continue
        packets, cut_off, latest = packets + 1, packet.is_corrupt, clock.latest
        decoding_tick = clock.tick(packet)
        if packet.is_keyframe and first_key is None:
            first_key = NO_TIME if packet.pts is None else packet.pts
            shown, decoding = [], []
        if packet.is_discard:
            continue
        stored.append((NO_TIME if packet.pts is None else packet.pts, packet.size))
        decoding.append(decoding_tick)
        if packet.pts is not None:
            shown.append(packet.pts + clock.offset)
            if clock.latest > latest:
                last_duration = video.last_frame_ticks(packet.duration)
            if packet.is_keyframe:
                keys.append(shown[-1])
            if len(shown) % 16 == 0 and _has_first_frames(shown, until, packet.dts):
                break
    timed = len(shown) == len(decoding)
    by_presentation = np.sort(np.asarray(shown, np.int64))
    if first_key is not None and not video.states_start_time:
        by_presentation = by_presentation[by_presentation >= first_key]
    reordered = any(later < earlier for earlier, later in itertools.pairwise(shown))
    if timed and video.stores_presentation_times:
        ticks = by_presentation
    else:
        ticks = _presentation_from_decoding(_fill_missing(decoding, round(video.frame_ticks)), video)
        last_duration = max(last_duration, float(np.diff(ticks).mean())) if len(ticks) > 1 else last_duration
        if timed and len(ticks) and not np.ptp(by_presentation - ticks):
            ticks = by_presentation  # the same but for a constant delay of the decoder
    return Timeline(
        ticks=ticks,
        key_ticks=np.asarray(keys, np.int64),
        stored=np.asarray(stored, np.int64).reshape(-1, 2),
        end_tick=float(ticks[-1] + last_duration) if len(ticks) else 0.0,
        packets=packets,
        cut_off=cut_off,
        reordered=reordered,
        seekable=timed and not clock.jumps and np.array_equal(by_presentation, ticks),
    )


def _has_first_frames(ticks: list[int], until: int | None, decoding_tick: int | None) -> bool:
    """Whether the first `until` frames are all read: whatever is decoded later is also shown later."""
    return until is not None and decoding_tick is not None and until < len(ticks) and sorted(ticks)[until] < decoding_tick


def _fill_missing(ticks: list[int | None], frame_ticks: int) -> np.ndarray:
    """Times of all packets, int64 [F].

    Packets before the first one that has a time precede it by one frame each. If no packet has a time, they count from 0.
    """
    missing = next((i for i, tick in enumerate(ticks) if tick is not None), len(ticks))
    first = ticks[missing] if missing < len(ticks) else missing * frame_ticks
    assert first is not None
    before = [first - (missing - i) * frame_ticks for i in range(missing)]
    return np.asarray([*before, *ticks[missing:]], np.int64)


def _presentation_from_decoding(ticks: np.ndarray, video: Video) -> np.ndarray:
    """Decoding times -> presentation times, int64 [F]. A codec that reorders by d frames shows frame k at the time of k + d."""
    delay = video.stream.codec_context.reorder_depth if video.may_reorder else 0
    if not 0 < delay < len(ticks) - 1:
        return ticks
    shown = ticks[delay:]
    step = max(1, round(float(np.median(np.diff(shown[-16:])))))
    return np.concatenate([shown, shown[-1] + step * np.arange(1, delay + 1)])


def ticks_of_times(video: Video, times_s: Sequence[float], start_tick: int) -> list[int]:
    """The last tick not later than each time (seconds since the first frame, which is shown at `start_tick`).

    A tolerance of half a tick, at most a tenth of a frame, is added, since files round their times to ticks.
    """
    if min(times_s) < 0:
        raise video.error("before the start", f"asked for {min(times_s):g} s; times count from the first frame, from 0")
    return ticks_at(times_s, start_tick, video.ticks_per_s, video.frame_ticks)


def ticks_at(times_s: Sequence[float], start_tick: int, ticks_per_s: float, frame_ticks: float) -> list[int]:
    """The last tick not later than each time, with the tolerance of `ticks_of_times`."""
    tolerance = min(0.5, 0.1 * frame_ticks)
    return [start_tick + math.floor(time * ticks_per_s + tolerance) for time in times_s]


def selected_numbers(video: Video, timeline: Timeline, selection: Selection) -> list[int]:
    """Numbers of the selected frames in the order shown. Raises VideoError for frames that the video does not have."""
    if selection.times_s is None:
        numbers = list(selection.indices or ())
        check_frame_numbers(video.name, numbers, len(timeline.ticks))
        return numbers
    start, rate = int(timeline.ticks[0]), video.ticks_per_s
    ticks = ticks_of_times(video, selection.times_s, start)
    check_time(video.name, (max(ticks) - start) / rate, (timeline.end_tick - start) / rate)
    return np.maximum(np.searchsorted(timeline.ticks, ticks, side="right") - 1, 0).tolist()
