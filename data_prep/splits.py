"""Splits into train, val and test.

The split is a function of a file's content, so that added files change no other split.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_prep.inspection import VideoRecord

FEW_FILES = 20  # with fewer files, fractions of files are too coarse, and each file is split in time
HELD_OUT = 0.2  # fraction of each file, at its end


@dataclass(frozen=True)
class TimeRange:
    """A part of a file, [start_s, stop_s), with its number of frames."""

    split: str
    start_s: float
    stop_s: float
    frames: int


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
