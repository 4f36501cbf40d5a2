"""Inspection of one item of a source: the properties of the video, or why it cannot be used.

Runs in worker processes.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_prep.content_hash import content_hash
from data_prep.frame_ranges import held_out_frame, segment_frames
from data_prep.pool import Failed
from data_prep.sources.item import Item
from worldmodel.storage.errors import StorageError, fault_outside_file
from worldmodel.video import VideoError
from worldmodel.video.container.timing import Timing
from worldmodel.video.frame_folder.frames import frames_of
from worldmodel.video.inspection import inspect_times


@dataclass(frozen=True)
class VideoRecord:
    """A line of the journal of `index`: an item and its properties.

    For a usable video `reason` is None.
    """

    path: str
    member: str | None
    label: str | None
    reason: str | None = None
    detail: str | None = None
    duration_s: float = 0.0
    fps: float = 0.0
    frames: int = 0
    width: int = 0
    height: int = 0
    rotation: int = 0
    codec: str = ""
    timing: Timing = "packets"
    content_hash: str = ""
    left_out: str = ""  # a sentence on images of a folder that are not frames of the video
    split: str | None = None  # as the list of the data set says
    segments: Sequence[Mapping[str, Any]] = ()  # fields of Segment; none: the whole video is one clip
    segment_frames: Sequence[Mapping[str, Any] | None] = ()  # fields of FrameRange, one of each segment; None: no frame
    held_out_s: float = 0.0  # when the first frame that is held out begins, where a video is divided in time

    def __post_init__(self) -> None:
        if self.reason is None and not (self.held_out_s > 0 and len(self.segment_frames) == len(self.segments)):
            raise ValueError("it was written by an earlier version")


def rejected_record(item: Item, reason: str, detail: str | None) -> VideoRecord:
    return VideoRecord(item.path, item.member, item.label, reason, detail)


def inspect_item(item: Item, min_seconds: float, thorough: bool) -> VideoRecord | Failed:
    """Inspect one video. Unusable videos are returned with their reason, and raise no error.

    A store that does not answer gives Failed of reason "storage". Raises OutputError if the cache of objects cannot be written.
    """
    if item.problem is not None:
        return rejected_record(item, item.problem, item.detail)
    try:
        info, times = inspect_times(item.path, item.member, thorough=thorough)
        digest = content_hash(item.path, item.member)
        left_out = frames_of(item.path).left_out if item.member is None and os.path.isdir(item.path) else ""
    except (VideoError, OSError) as error:
        outside = fault_outside_file(error)
        if isinstance(outside, StorageError):
            return Failed("storage", str(outside.strerror))
        if outside is not None:
            raise outside from None
        if isinstance(error, VideoError):
            return rejected_record(item, error.reason, error.detail)
        return rejected_record(item, "unreadable file", str(error.strerror if isinstance(error, StorageError) else error))
    if not 0 < info.duration_s < math.inf:
        return rejected_record(item, "no times", f"its {info.frames} frames last {info.duration_s:g} s in total")
    if info.frames < 2 or info.duration_s < min_seconds:
        detail = f"{info.frames} frames, {info.duration_s:.2f} s; expected at least 2 frames and {min_seconds:g} s"
        return rejected_record(item, "too short", detail)
    ranges = [segment_frames(times, info.duration_s, segment) for segment in item.segments]
    facts = dataclasses.asdict(info)
    del facts["start_s"]  # times are relative to it
    return VideoRecord(
        item.path,
        item.member,
        item.label,
        content_hash=digest,
        left_out=left_out,
        split=item.split,
        segments=[dataclasses.asdict(segment) for segment in item.segments],
        segment_frames=[None if found is None else dataclasses.asdict(found) for found in ranges],
        held_out_s=float(times.starts_s()[held_out_frame(info.frames)]),
        **facts,
    )
