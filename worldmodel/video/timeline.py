"""When the frames of a file are shown, from its packets: nothing is decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldmodel.video.container import Video
from worldmodel.video.errors import VideoError

PACKETS_ARE_NOT_FRAMES = {"vp8", "gif"}  # VP8 hides frames; a GIF has no keyframes to start from


class Untimed(Exception):  # noqa: N818  a turn of the road, not a failure
    """The packets do not tell which frame is shown when: the film has to be decoded from its start."""


@dataclass(frozen=True)
class Timeline:
    """Presentation times of a stream's frames, in its ticks."""

    ticks: np.ndarray  # int64 [frames], sorted
    key_ticks: np.ndarray  # int64, those of keyframes, in the order of the file
    end_tick: float  # when the last one ends
    packets: int  # with those that an edit list cuts off
    cut_off: bool  # the last packet is there in part only


def scan(video: Video, until: int | None = None) -> Timeline:
    """Read the packets of all frames, or of the first `until` and some more.

    Raises Untimed where packets carry no times.
    """
    if video.codec in PACKETS_ARE_NOT_FRAMES:
        raise Untimed
    ticks: list[int] = []
    keys: list[int] = []
    packets, cut_off, end_tick = 0, False, 0.0
    for packet in video.container.demux(video.stream):
        if not packet.size:  # the flush at the end
            continue
        packets, cut_off = packets + 1, packet.is_corrupt
        if packet.is_discard:
            continue
        if packet.pts is None:
            raise Untimed
        ticks.append(packet.pts)
        end_tick = max(end_tick, packet.pts + video.shown_for(packet.duration))
        if packet.is_keyframe:
            keys.append(packet.pts)
        if len(ticks) % 16 == 0 and _settled(ticks, until, packet.dts):
            break
    return Timeline(np.sort(np.asarray(ticks, np.int64)), np.asarray(keys, np.int64), end_tick, packets, cut_off)


def _settled(ticks: list[int], until: int | None, decoding_tick: int | None) -> bool:
    """Whether the first `until` frames are all there: whatever is decoded later is shown later, too."""
    return until is not None and decoding_tick is not None and until < len(ticks) and sorted(ticks)[until] < decoding_tick


def ticks_of_times(video: Video, times_s: Sequence[float]) -> list[int]:
    """The last tick not later than each time (seconds since the first frame).

    Half a tick is granted, since files round their times to ticks, but no more than a tenth of a frame.
    """
    if min(times_s) < 0:
        raise video.error("before the start", f"asked for {min(times_s):g} s; times count from the first frame, from 0")
    granted = min(0.5, 0.1 * video.frame_ticks)
    return [video.start_tick + math.floor(time * video.ticks_per_s + granted) for time in times_s]


def check_numbers(name: str, numbers: Sequence[int], count: int) -> None:
    """Raises VideoError for frame numbers that a film of `count` frames does not have."""
    if min(numbers) < 0:
        raise VideoError(name, "before the start", f"asked for frame {min(numbers)}; frames count from 0")
    if max(numbers) >= count:
        raise VideoError(name, "past the end", f"asked for frame {max(numbers)}, there are {count}; {HINT}")


def check_end(name: str, asked_s: float, end_s: float) -> None:
    """Raises VideoError for a time at which the film, `end_s` long, is over."""
    if asked_s >= end_s:
        raise VideoError(name, "past the end", f"asked for {asked_s:.3f} s, it ends at {end_s:.3f} s; {HINT}")


HINT = "if a manifest says more, run `python -m data_prep index` again"
