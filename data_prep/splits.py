"""Splits into train, val and test.

The split is a function of a file's content, so that added files change no other split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from data_prep.inspection import VideoRecord
from data_prep.sources.item import Segment
from worldmodel.manifest import Clip, clip_id

FEW_FILES = 20  # with fewer files, fractions of files are too coarse, and each file is split in time
HELD_OUT = 0.2  # fraction of each file, at its end
ROUNDING_FRAMES = 1e-3  # of a frame: times in lists are rounded


@dataclass(frozen=True)
class TimeRange:
    """A part of a file, [start_s, stop_s), with its number of frames."""

    split: str
    start_s: float
    stop_s: float
    frames: int
    label: str | None = None  # of the part; None: the label of the file


def split_of(content_hash: str, val: float, test: float) -> str:
    """train, val or test for these fractions.

    The hash serves as a number distributed uniformly in [0, 1).
    """
    number = int(content_hash[:16], 16) / 2**64
    return "val" if number < val else "test" if number < val + test else "train"


def split_in_time(record: VideoRecord) -> list[TimeRange]:
    """The first four fifths as train and the last fifth as val, cut between two frames."""
    first = min(max(1, round(record.frames * (1 - HELD_OUT))), record.frames - 1)
    cut_s = record.duration_s * first / record.frames
    return [
        TimeRange("train", 0.0, cut_s, first),
        TimeRange("val", cut_s, record.duration_s, record.frames - first),
    ]


def whole_file(record: VideoRecord, split: str) -> list[TimeRange]:
    return [TimeRange(split, 0.0, record.duration_s, record.frames)]


def segment_range(record: VideoRecord, segment: Segment, split: str) -> TimeRange | None:
    """The frames that lie in a segment with their whole duration; None where there are none.

    split: of a segment whose list does not say one. Frames count at the average rate of the file.
    """
    first = max(0, math.ceil(segment.start_s * record.fps - ROUNDING_FRAMES))
    stop = min(record.frames, math.floor(segment.stop_s * record.fps + ROUNDING_FRAMES))
    if stop <= first:
        return None
    stop_s = min(stop / record.fps, record.duration_s)
    return TimeRange(segment.split or split, first / record.fps, stop_s, stop - first, segment.label)


def clips_of(record: VideoRecord, ranges: Iterable[TimeRange], source: str) -> Iterator[Clip]:
    """The clips of a usable video, one per time range. source: name of the data set."""
    for time_range in ranges:
        yield Clip(
            clip_id=clip_id(record.content_hash, time_range.start_s, time_range.stop_s),
            path=record.path,
            member=record.member,
            start_s=time_range.start_s,
            stop_s=time_range.stop_s,
            fps=record.fps,
            frames=time_range.frames,
            width=record.width,
            height=record.height,
            rotation=record.rotation,
            codec=record.codec,
            split=time_range.split,
            label=record.label if time_range.label is None else time_range.label,
            truth=None,
            source=source,
            content_hash=record.content_hash,
            timing=record.timing,
        )
