"""What a source finds: a video that has not been looked into yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """A file, a folder of frames or a tar member, and what the layout tells of it."""

    path: str
    member: str | None = None
    label: str | None = None
    problem: str | None = None  # why the source already knows that it cannot be used, e.g. "compressed tar"
    detail: str | None = None  # more on the problem

    @property
    def name(self) -> str:
        return self.path if self.member is None else f"{self.path}::{self.member}"
