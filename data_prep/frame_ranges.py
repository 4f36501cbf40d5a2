"""Which frames a part of a video has, and when they begin. Runs in worker processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.sources.item import Segment
from worldmodel.manifest import Clip
from worldmodel.video.frame_times import ROUNDING_S, FrameTimes

HELD_OUT = 0.2  # fraction of each file that is divided in time, at its end
ROUNDING_FRAMES = 1e-3  # of a frame: times in lists are rounded
ROUNDING_SHARE = 0.25  # of a frame: times in manifests may be rounded as containers round theirs


@dataclass(frozen=True)
class FrameRange:
    """Frames of a file that follow one another, [start_s, stop_s)."""

    start_s: float
    stop_s: float
    first_frame: int
    frames: int


def held_out_frame(frames: int) -> int:
    """The number of the first frame that is held out of a file that is divided in time."""
    return min(max(1, round(frames * (1 - HELD_OUT))), frames - 1)


def frames_of_clip(times: FrameTimes, clip: Clip) -> tuple[int, int]:
    """The numbers in the file of the first frame of a clip and of the one after its last.

    times: of the file. A frame belongs to the clip in whose interval it begins. What the clip states is
    not used: another program may have changed its interval.
    """
    rounding_s = min(ROUNDING_S, ROUNDING_SHARE / clip.fps)
    first, stop = np.searchsorted(times.starts_s(), np.array([clip.start_s, clip.stop_s]) - rounding_s).tolist()
    return first, stop


def frames_of_copy(copy: FrameTimes, duration_s: float, source: FrameTimes, first: int, stop: int) -> FrameRange | None:
    """The frames of a copy that are frames [first, stop) of its source; None where there are none.

    A frame of a copy begins when the frame that it shows begins in the source. A copy at a lower rate
    lacks frames, so it may start later than the source.
    """
    source_s, starts = source.ticks / source.ticks_per_s, copy.starts_s()
    shown = np.searchsorted((source_s[1:] + source_s[:-1]) / 2, copy.ticks / copy.ticks_per_s, side="right")
    begin, end = np.searchsorted(shown, [first, stop]).tolist()
    if end <= begin:
        return None
    stop_s = float(starts[end]) if end < len(starts) else duration_s
    return FrameRange(float(starts[begin]), stop_s, begin, end - begin)


def segment_frames(times: FrameTimes, duration_s: float, segment: Segment) -> FrameRange | None:
    """The frames that lie in a segment with their whole duration; None where there are none."""
    starts, rounding_s = times.starts_s(), ROUNDING_FRAMES / times.fps
    ends = np.append(starts[1:], duration_s)
    first = int(np.searchsorted(starts, segment.start_s - rounding_s))
    stop = int(np.searchsorted(ends, segment.stop_s + rounding_s, side="right"))
    if stop <= first:
        return None
    return FrameRange(float(starts[first]), float(ends[stop - 1]), first, stop - first)
