"""Trials: the videos of a benchmark that belong together, and which of them are compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worldmodel.files.atomic import write_text
from worldmodel.files.json_files import raise_missing_field, read_json
from worldmodel.video.crop_rectangle import CropRectangle
from worldmodel.video.geometry import Geometry, read_square_frames
from worldmodel.video.selection import frame_count_at

PairKind = Literal["same context", "same outcome", "matched"]
Range = tuple[int, int]  # half-open


class TrialError(ValueError):
    """A suite that is incomplete or breaks its layout.

    The message says what was found, what was expected and what to do.
    """


@dataclass(frozen=True)
class Video:
    """One video of a trial.

    Frame numbers of a trial count from the video's first frame, at the video's own rate.
    """

    video_id: str
    path: str  # a video file or a folder of frames
    fps: float
    frames: int  # from `start` on
    label: bool | None  # True: possible. None only where the labels are secret
    context_id: str = ""  # videos with the same context_id are equal until the event
    outcome_id: str = ""  # videos with the same outcome_id have the same end
    start_frame: int = 0  # first frame of the file that is used; above 0 if its priming is left out
    crop: str | None = None  # what is read of each frame (worldmodel/video/crop_rectangle.py); None: all of it
    start_s: float | None = None  # when the part of the file that is used begins; None: at start_frame, at a constant rate

    @property
    def begin_s(self) -> float:
        """When the part of the file that is used begins, in seconds."""
        return self.start_frame / self.fps if self.start_s is None else self.start_s

    def as_key(self) -> dict[str, Any]:
        """What determines results. A video without `crop` and `start_s` has the key that it had before there were any."""
        later = ("crop", "start_s")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in later or value is not None}


@dataclass(frozen=True)
class Pair:
    """A possible and an impossible video that are compared, as indices into `Trial.videos`.

    "same context": two outcomes of one beginning. "same outcome": two beginnings of one end.
    "matched": pairs that a benchmark gives without either guarantee.
    """

    kind: PairKind
    possible: int
    impossible: int


@dataclass(frozen=True)
class Trial:
    """Videos that differ in one event.

    The trial is the unit of statistics: pairs of one trial are not independent.
    """

    group_id: str
    videos: tuple[Video, ...]
    pairs: tuple[Pair, ...]
    property: str
    split: str = "test"
    visibility: str = ""  # occluded | visible
    level: str = ""
    copy_class: str = ""  # easy | neutral | hard
    magnitude: float | None = None
    spliced: bool = (
        False  # made by joining parts of possible videos at a frame where they are equal, so that single frames leak no label
    )
    locked_cuts: Range | None = None  # range of frames at which a context may stop and end in full occlusion
    splice_frame: int | None = None
    occluded_frames: Range | None = None
    violation_frame: int | None = None
    reveal_frame: int | None = None
    known_defect: str = ""  # of this property in this benchmark


def read_video(video: Video, fps: float, size_px: int, geometry: Geometry = "center_crop") -> NDArray[np.uint8]:
    """Read a video at `fps` frames per second: uint8 [T, size_px, size_px, 3].

    Raises VideoError.
    """
    count = frame_count_at(video.frames, video.fps, fps)
    times = [video.begin_s + index / fps for index in range(count)]
    rectangle = None if video.crop is None else CropRectangle.parse(video.crop)
    return read_square_frames(video.path, size_px, geometry, times_s=times, folder_fps=video.fps, rectangle=rectangle)


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Write trials as JSON, so that scores can be computed again without the suite."""
    write_text(path, json.dumps([dataclasses.asdict(trial) for trial in trials], indent=1))


def read_trials(path: Path) -> list[Trial]:
    """Read what `write_trials` wrote. Raises TrialError that names the file where it is damaged."""
    rows = read_json(path, TrialError)
    try:
        return [_trial(row) for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise_missing_field(path, error, TrialError)


def _trial(row: dict[str, Any]) -> Trial:
    videos = tuple(Video(**video) for video in row["videos"])
    pairs = tuple(Pair(**pair) for pair in row["pairs"])
    ranges = {name: None if row[name] is None else tuple(row[name]) for name in ("locked_cuts", "occluded_frames")}
    return Trial(**{**row, "videos": videos, "pairs": pairs, **ranges})


def check_trials(trials: Iterable[Trial]) -> None:
    """Check that names are unique, and that every pair has a possible and an impossible video.

    A trial of videos without labels has no pairs. Raises TrialError that names the first problem
    and counts the others.
    """
    problems: list[str] = []
    groups: set[str] = set()
    videos: set[str] = set()
    for trial in trials:
        if trial.group_id in groups:
            problems.append(f"{trial.group_id}: there are two trials of this name")
        groups.add(trial.group_id)
        for video in trial.videos:
            if video.video_id in videos:
                problems.append(f"{trial.group_id}: there are two videos named {video.video_id}")
            videos.add(video.video_id)
        for pair in trial.pairs:
            labels = trial.videos[pair.possible].label, trial.videos[pair.impossible].label
            if labels != (True, False):
                problems.append(f"{trial.group_id}: a pair must have one possible and one impossible video, it has {labels}")
    if problems:
        raise TrialError(problems[0] + (f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""))
