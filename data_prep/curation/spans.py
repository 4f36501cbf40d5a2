"""Where the stretches of a video begin and stop, in frames of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldmodel.video.frame_times import FrameTimes


@dataclass(frozen=True)
class Span:
    """Where a stretch lies in the file: from the first frame seen in it to the last one, as long as they are shown.

    A frame that is seen in two stretches is of the first one.
    """

    begin_s: float
    stop_s: float  # when the frame after the last one begins
    first_frame: int  # its number in the file
    frames: int  # 0 if all were seen in the stretch before


def find_spans(
    times: FrameTimes, examined_s: NDArray[np.float64], bounds: Sequence[tuple[int, int]], start_s: float, stop_s: float
) -> list[Span]:
    """Where stretches lie. examined_s: [T], when the video was examined. bounds: [start, stop) in these times, in order.

    start_s, stop_s: what was examined; the first span begins and the last one stops there.
    """
    shown, starts = times.shown_at(examined_s).tolist(), times.starts_s()
    end = times.last_before(stop_s) + 1
    found = []
    for first, after in bounds:
        in_stretch_before = first > 0 and shown[first] == shown[first - 1]
        frame = int(shown[first]) + in_stretch_before
        following = int(shown[after - 1]) + 1 if after < len(examined_s) else end
        begin = start_s if first == 0 else float(starts[frame]) if frame < len(starts) else stop_s
        stop = float(starts[following]) if after < len(examined_s) and following < len(starts) else stop_s
        found.append(Span(begin, stop, frame, max(0, following - frame)))
    return found
