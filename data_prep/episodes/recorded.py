"""What a reader of a data set finds: an episode as a part of a video file, with its signals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodel.signals import Channel


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode, seen by one camera."""

    number: int
    video: Path
    first_frame: int  # number of its first frame in the video file
    frames: int
    fps: float
    task: str | None
    time_s: NDArray[np.float64]  # [N], since its own first frame
    actions: NDArray[np.float64]  # [N, A]
    states: NDArray[np.float64]  # [N, S]; S is 0 where there are none
    action: Channel
    state: Channel


@dataclass(frozen=True)
class UnusableEpisode:
    """An episode that cannot be used, and why."""

    number: int
    reason: str
    detail: str
