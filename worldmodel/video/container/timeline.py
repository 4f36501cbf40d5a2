"""When the frames of a file are shown, read from its packets. Nothing is decoded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from av.packet import Packet

from worldmodel.video.container.opening import Video
from worldmodel.video.errors import VideoError

CLOCK_MAY_JUMP = 0x200  # FFmpeg's AVFMT_TS_DISCONT, set for MPEG-TS, MPEG-PS and Ogg
LONGEST_GAP_S = 10.0  # in those containers a longer gap is a jump of the clock, as for the ffmpeg command line tool
JITTER_S = 0.1  # decoding times may go back by as much and no jump is seen
NO_TIME = -(2**63)  # of a packet, in Timeline.stored
HINT = "if a manifest says more, run `python -m data_prep index` again"


@dataclass(frozen=True)
class Timeline:
    """Times of a stream's frames in ticks of the stream. P packets in the order of the file, F frames."""

    ticks: np.ndarray  # int64 [F], never decreasing: when the frames are shown that can be decoded
    key_ticks: np.ndarray  # int64: those of keyframes, in the order of the file
    stored: np.ndarray  # int64 [<= P, 2]: (presentation time, size in bytes) of each packet, in the order of the file
    end_tick: float  # when the last frame ends
    packets: int  # P, with those that an edit list hides
    cut_off: bool  # only a part of the last packet is there
    reordered: bool  # a packet is shown before one that stands before it
    seekable: bool  # every packet has a presentation time, and these are the ticks: the clock never jumps

    def span_s(self, ticks_per_s: float) -> tuple[float, float]:
        """When the first frame is shown and when the last one ends, in seconds on the file's clock."""
        return float(self.ticks[0] / ticks_per_s), float(self.end_tick / ticks_per_s)


class _Clock:
    """Decoding times of packets -> a clock that never goes back.

    Where the clock starts again, or jumps ahead, the packets follow those before without a gap.
    """

    def __init__(self, video: Video) -> None:
        self._may_jump = bool(video.container.format.flags & CLOCK_MAY_JUMP)
        self._longest_gap = LONGEST_GAP_S * video.ticks_per_s
        self._jitter = JITTER_S * video.ticks_per_s
        self._frame_ticks = round(video.frame_ticks)
        self._last: int | None = None
        self._next = 0
        self.latest = -math.inf  # presentation time so far
        self.offset = 0  # to add to the file's times
        self.jumps = 0

    def tick(self, packet: Packet) -> int | None:
        """The time at which a packet is decoded; None as long as no packet had a time."""
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
        """Back, or far ahead. Where a frame that was decoded before belongs after the gap, the gap is one in the video."""
        back = tick < last - self._jitter
        return back or (self._may_jump and tick - self._next > self._longest_gap and self.latest < tick)


def scan(video: Video, until: int | None = None) -> Timeline:
    """Read the packets of all frames, or those of the first `until` frames and some more.

    The ticks are the presentation times of the packets. Where the container stores only decoding times, or leaves out some
    presentation times, they follow from the decoding times and the delay of the codec. What is shown before the first keyframe
    (a recording that begins in the middle of a broadcast) cannot be decoded and has no tick.
    """
    clock = _Clock(video)
    shown: list[int] = []  # presentation times, since the first keyframe
    decoding: list[int | None] = []
    stored: list[tuple[int, int]] = []
    keys: list[int] = []
    packets, cut_off, last_length = 0, False, video.frame_ticks
    first_key: int | None = None  # the presentation time of the first keyframe
    for packet in video.packets():
        if not packet.size:  # the flush at the end, or a frame that the file leaves out
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
                last_length = video.shown_for(packet.duration)
            if packet.is_keyframe:
                keys.append(shown[-1])
            if len(shown) % 16 == 0 and _settled(shown, until, packet.dts):
                break
    timed = len(shown) == len(decoding)
    by_presentation = np.sort(np.asarray(shown, np.int64))
    if first_key is not None and not video.states_its_start:
        by_presentation = by_presentation[by_presentation >= first_key]
    reordered = any(later < earlier for earlier, later in itertools.pairwise(shown))
    if timed and video.stores_presentation_times:
        ticks = by_presentation
    else:
        ticks = _delayed(_filled(decoding, round(video.frame_ticks)), video)
        last_length = max(last_length, float(np.diff(ticks).mean())) if len(ticks) > 1 else last_length
        if timed and len(ticks) and not np.ptp(by_presentation - ticks):
            ticks = by_presentation  # the same but for the delay of the decoder
    return Timeline(
        ticks=ticks,
        key_ticks=np.asarray(keys, np.int64),
        stored=np.asarray(stored, np.int64).reshape(-1, 2),
        end_tick=float(ticks[-1] + last_length) if len(ticks) else 0.0,
        packets=packets,
        cut_off=cut_off,
        reordered=reordered,
        seekable=timed and not clock.jumps and np.array_equal(by_presentation, ticks),
    )


def _settled(ticks: list[int], until: int | None, decoding_tick: int | None) -> bool:
    """Whether the first `until` frames are all there: whatever is decoded later is shown later, too."""
    return until is not None and decoding_tick is not None and until < len(ticks) and sorted(ticks)[until] < decoding_tick


def _filled(ticks: list[int | None], frame_ticks: int) -> np.ndarray:
    """int64 [F]: packets before the first one that has a time precede it, a frame each; without any time they count from 0."""
    missing = next((place for place, tick in enumerate(ticks) if tick is not None), len(ticks))
    first = ticks[missing] if missing < len(ticks) else missing * frame_ticks
    assert first is not None
    before = [first - (missing - place) * frame_ticks for place in range(missing)]
    return np.asarray([*before, *ticks[missing:]], np.int64)


def _delayed(ticks: np.ndarray, video: Video) -> np.ndarray:
    """Decoding times -> presentation times, int64 [F]. A codec that reorders by d frames shows frame k at the time of k + d."""
    delay = video.stream.codec_context.reorder_depth if video.may_reorder else 0
    if not 0 < delay < len(ticks) - 1:
        return ticks
    shown = ticks[delay:]
    step = max(1, round(float(np.median(np.diff(shown[-16:])))))
    return np.concatenate([shown, shown[-1] + step * np.arange(1, delay + 1)])


def ticks_of_times(video: Video, times_s: Sequence[float], start_tick: int) -> list[int]:
    """The last tick not later than each time (seconds since the first frame, which is shown at `start_tick`).

    Half a tick is granted, since files round their times to ticks, but no more than a tenth of a frame.
    """
    if min(times_s) < 0:
        raise video.error("before the start", f"asked for {min(times_s):g} s; times count from the first frame, from 0")
    granted = min(0.5, 0.1 * video.frame_ticks)
    return [start_tick + math.floor(time * video.ticks_per_s + granted) for time in times_s]


def check_numbers(name: str, numbers: Sequence[int], count: int) -> None:
    """Raises VideoError for frame numbers that a video of `count` frames does not have."""
    if min(numbers) < 0:
        raise VideoError(name, "before the start", f"asked for frame {min(numbers)}; frames count from 0")
    if max(numbers) >= count:
        raise VideoError(name, "past the end", f"asked for frame {max(numbers)}, there are {count}; {HINT}")


def check_end(name: str, asked_s: float, end_s: float) -> None:
    """Raises VideoError for a time at which the video, `end_s` long, is over."""
    if asked_s >= end_s:
        raise VideoError(name, "past the end", f"asked for {asked_s:.3f} s, it ends at {end_s:.3f} s; {HINT}")
