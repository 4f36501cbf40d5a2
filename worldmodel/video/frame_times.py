"""When each frame of a video is shown, at a constant and at a variable frame rate."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodel.video.container.decode_in_order import decode_all
from worldmodel.video.container.opening import open_video
from worldmodel.video.container.timeline import scan_packets, ticks_at
from worldmodel.video.container.timing import Timing, timing_of
from worldmodel.video.frame_folder.frames import frame_names

ROUNDING_S = 2e-3  # containers round times, many of them to milliseconds; a larger difference is another rate
ROUNDING_FRAMES = 0.25  # the same for high rates
AT_STOP = 1e-3  # of a frame: one that begins so shortly before the end is not before it
FOLDER_FRAME_TICKS = 1e-2  # gives the tolerance of `read_folder`


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

    def starts_s(self) -> NDArray[np.float64]:
        """When each frame begins, [F]. At a constant rate, multiples of 1 / fps, without the rounding of the container."""
        found, constant = self.ticks / self.ticks_per_s, np.arange(len(self.ticks)) / self.fps
        if np.abs(found - constant).max() > min(ROUNDING_S, ROUNDING_FRAMES / self.fps):
            return found
        return np.where(self.shown_at(constant) == np.arange(len(found)), constant, found)


def folder_times(frames: int, fps: float) -> FrameTimes:
    """Times of a folder of images, which is played at a constant rate."""
    return FrameTimes(np.arange(frames), fps, FOLDER_FRAME_TICKS, fps)


def frame_times(path: Path | str, member: str | None, timing: Timing | None, fps: float) -> FrameTimes:
    """When the frames of a video are shown, from its packets; from decoded frames where these do not say it.

    timing: as the manifest states it; None: it is analysed. fps: average rate. Raises VideoError.
    """
    if member is None and os.path.isdir(path):
        return folder_times(len(frame_names(path)), fps)
    timing = timing or timing_of(path, member)
    with open_video(path, member) as video:
        ticks = decode_all(video, strict=False).ticks if timing == "frames" else scan_packets(video).ticks
        if not len(ticks):
            raise video.no_frames()
        return FrameTimes(ticks - ticks[0], video.ticks_per_s, video.frame_ticks, fps)
