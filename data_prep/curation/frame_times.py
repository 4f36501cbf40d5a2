"""When each frame of a video is shown: the bounds of stretches in videos of constant and of variable frame rate."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldmodel.manifest import Clip
from worldmodel.video.container.decode_in_order import decode_all
from worldmodel.video.container.opening import open_video
from worldmodel.video.container.timeline import scan_packets, ticks_at
from worldmodel.video.container.timing import timing_of
from worldmodel.video.frame_folder.frames import frame_names

ROUNDING_S = 2e-3  # containers round times, many of them to milliseconds; a larger difference is another rate
ROUNDING_FRAMES = 0.25  # the same for high rates
AT_STOP = 1e-3  # of a frame: one that begins so shortly before the end is not before it
FOLDER_FRAME_TICKS = 1e-2  # gives the tolerance of `read_folder`


@dataclass(frozen=True)
class Span:
    """Where a stretch lies in the file: from the first frame seen in it to the last one, as long as they are shown.

    A frame that is seen in two stretches is of the first one.
    """

    begin_s: float
    stop_s: float  # when the frame after the last one begins
    frames: int  # 0 if all were seen in the stretch before


@dataclass(frozen=True)
class FrameTimes:
    """When the frames of a video are shown. `fps` is the average rate that the manifest states."""

    ticks: NDArray[np.int64]  # [F], since the first frame, never decreasing
    ticks_per_s: float
    frame_ticks: float  # average duration of a frame, as the container states it
    fps: float

    def shown_at(self, times_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """The number of the frame that `read_frames` gives for each time, [T] -> [T]."""
        asked = ticks_at(times_s.tolist(), 0, self.ticks_per_s, self.frame_ticks)
        return np.maximum(np.searchsorted(self.ticks, asked, side="right") - 1, 0)

    def end_s(self, time_s: float) -> float:
        """When the frame after the one that is shown at a time begins; infinite for the last frame."""
        following = int(self.shown_at(np.array([time_s]))[0]) + 1
        return float(self.starts_s()[following]) if following < len(self.ticks) else math.inf

    def last_before(self, stop_s: float) -> int:
        """The number of the last frame that begins before a time."""
        return max(0, int(np.searchsorted(self.starts_s(), stop_s - AT_STOP / self.fps)) - 1)

    def spans(
        self, times_s: NDArray[np.float64], bounds: Sequence[tuple[int, int]], start_s: float, stop_s: float
    ) -> list[Span]:
        """Where stretches lie. times_s: [T], when the video was examined. bounds: [start, stop) in these times, in order.

        start_s, stop_s: what was examined; the first span begins and the last one stops there.
        """
        shown, starts = self.shown_at(times_s).tolist(), self.starts_s()
        end = self.last_before(stop_s) + 1
        found = []
        for first, after in bounds:
            in_stretch_before = first > 0 and shown[first] == shown[first - 1]
            frame = int(shown[first]) + in_stretch_before
            following = int(shown[after - 1]) + 1 if after < len(times_s) else end
            begin = start_s if first == 0 else float(starts[frame]) if frame < len(starts) else stop_s
            stop = float(starts[following]) if after < len(times_s) and following < len(starts) else stop_s
            found.append(Span(begin, stop, max(0, following - frame)))
        return found

    def starts_s(self) -> NDArray[np.float64]:
        """When each frame begins, [F]. At a constant rate, multiples of 1 / fps, without the rounding of the container."""
        found, constant = self.ticks / self.ticks_per_s, np.arange(len(self.ticks)) / self.fps
        if np.abs(found - constant).max() > min(ROUNDING_S, ROUNDING_FRAMES / self.fps):
            return found
        return np.where(self.shown_at(constant) == np.arange(len(found)), constant, found)


def frame_times(clip: Clip) -> FrameTimes:
    """When the frames of the video of a clip are shown, from its packets; from decoded frames where these do not say it.

    Raises VideoError.
    """
    if clip.member is None and os.path.isdir(clip.path):
        return FrameTimes(np.arange(len(frame_names(clip.path))), clip.fps, FOLDER_FRAME_TICKS, clip.fps)
    timing = clip.timing or timing_of(clip.path, clip.member)
    with open_video(clip.path, clip.member) as video:
        ticks = decode_all(video, strict=False).ticks if timing == "frames" else scan_packets(video).ticks
        if not len(ticks):
            raise video.no_frames()
        return FrameTimes(ticks - ticks[0], video.ticks_per_s, video.frame_ticks, clip.fps)
