"""Which part of the data a file belongs to: a function of its content, so that adding files moves none."""

from __future__ import annotations

from dataclasses import dataclass

from data_prep.inspection import Record

FEW_FILES = 20  # below, shares of files mean little, and files are split in time
HELD_OUT = 0.2  # the last fifth of each


@dataclass(frozen=True)
class Stretch:
    """A part of a file: [start_s, stop_s) with so many frames."""

    split: str
    start_s: float
    stop_s: float
    frames: int


def by_content(content_hash: str, val: float, test: float) -> str:
    """train, val or test: the hash is a number drawn evenly from [0, 1)."""
    drawn = int(content_hash[:16], 16) / 2**64
    return "val" if drawn < val else "test" if drawn < val + test else "train"


def in_time(record: Record) -> list[Stretch]:
    """The first four fifths to train on, the last fifth held out (val); cut between two frames."""
    first = min(max(1, round(record.frames * (1 - HELD_OUT))), record.frames - 1)
    cut_s = record.duration_s * first / record.frames
    return [
        Stretch("train", 0.0, cut_s, first),
        Stretch("val", cut_s, record.duration_s, record.frames - first),
    ]


def whole(record: Record, split: str) -> list[Stretch]:
    return [Stretch(split, 0.0, record.duration_s, record.frames)]
