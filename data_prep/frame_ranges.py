"""Which frames a part of a video has, and when they begin. Runs in worker processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.sources.item import Segment
from worldmodel.video.frame_times import FrameTimes

HELD_OUT = 0.2  # fraction of each file that is divided in time, at its end
ROUNDING_FRAMES = 1e-3  # of a frame: times in lists are rounded


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


def frames_of_copy(times: FrameTimes, duration_s: float, start_s: float, stop_s: float) -> FrameRange | None:
    """The frames of a copy that begin in the time range of a clip; None where there are none.

    A copy at a lower rate has no frame that begins with the clip. What it shows then began before, so
    the clip of the copy starts later, with its own first frame.
    """
    starts, rounding_s = times.starts_s(), ROUNDING_FRAMES / times.fps
    first, stop = np.searchsorted(starts, np.array([start_s, stop_s]) - rounding_s).tolist()
    if stop <= first:
        return None
    return FrameRange(max(start_s, float(starts[first])), min(stop_s, duration_s), first, stop - first)


def segment_frames(times: FrameTimes, duration_s: float, segment: Segment) -> FrameRange | None:
    """The frames that lie in a segment with their whole duration; None where there are none."""
    starts, rounding_s = times.starts_s(), ROUNDING_FRAMES / times.fps
    ends = np.append(starts[1:], duration_s)
    first = int(np.searchsorted(starts, segment.start_s - rounding_s))
    stop = int(np.searchsorted(ends, segment.stop_s + rounding_s, side="right"))
    if stop <= first:
        return None
    return FrameRange(float(starts[first]), float(ends[stop - 1]), first, stop - first)
