"""Splits into train, val and test.

The split is a function of a file's content, so that added files change no other split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from data_prep.frame_ranges import FrameRange, held_out_frame
from data_prep.inspection import VideoRecord
from data_prep.sources.item import Segment
from worldmodel.manifest import Clip, clip_id

FEW_FILES = 20  # with fewer files, fractions of files are too coarse, and each file is split in time


@dataclass(frozen=True)
class Part:
    """A part of a file that becomes a clip."""

    split: str
    range: FrameRange
    label: str | None = None  # of the part; None: the label of the file


def split_of(content_hash: str, val: float, test: float) -> str:
    """train, val or test for these fractions.

    The hash serves as a number distributed uniformly in [0, 1).
    """
    number = int(content_hash[:16], 16) / 2**64
    return "val" if number < val else "test" if number < val + test else "train"


def split_in_time(record: VideoRecord) -> list[Part]:
    """The first four fifths of the frames as train and the others as val."""
    first, cut_s = held_out_frame(record.frames), record.held_out_s
    return [
        Part("train", FrameRange(0.0, cut_s, 0, first)),
        Part("val", FrameRange(cut_s, record.duration_s, first, record.frames - first)),
    ]


def whole_file(record: VideoRecord, split: str) -> list[Part]:
    return [Part(split, FrameRange(0.0, record.duration_s, 0, record.frames))]


def segments_of(record: VideoRecord) -> Iterator[tuple[Segment, FrameRange | None]]:
    """The segments that a list names, and their frames; None where a segment holds none with its whole duration."""
    for fields, found in zip(record.segments, record.segment_frames, strict=True):
        yield Segment(**fields), None if found is None else FrameRange(**found)


def clips_of(record: VideoRecord, parts: Iterable[Part], source: str) -> Iterator[Clip]:
    """The clips of a usable video, one per part. source: name of the data set."""
    for part in parts:
        yield Clip(
            clip_id=clip_id(record.content_hash, part.range.start_s, part.range.stop_s),
            path=record.path,
            member=record.member,
            start_s=part.range.start_s,
            stop_s=part.range.stop_s,
            fps=record.fps,
            frames=part.range.frames,
            width=record.width,
            height=record.height,
            rotation=record.rotation,
            codec=record.codec,
            split=part.split,
            label=record.label if part.label is None else part.label,
            truth=None,
            source=source,
            content_hash=record.content_hash,
            timing=record.timing,
            first_frame=part.range.first_frame,
        )
