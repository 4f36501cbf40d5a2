"""What a source finds: a video that has not been inspected yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A part of a video that a list names, [start_s, stop_s)."""

    start_s: float
    stop_s: float
    label: str | None = None
    split: str | None = None  # as the list says; None: by content


@dataclass(frozen=True)
class Item:
    """A file, a folder of frames or a tar member, with its label."""

    path: str
    member: str | None = None
    label: str | None = None
    problem: str | None = None  # why it cannot be used, if the source already knows, such as "compressed tar"
    detail: str | None = None  # a sentence on the problem
    split: str | None = None  # train, val or test as the list of the data set says; None: by content
    segments: tuple[Segment, ...] = ()  # the clips of the video; none: the whole video is one clip

    @property
    def name(self) -> str:
        return self.path if self.member is None else f"{self.path}::{self.member}"
