"""What a source finds: a video that has not been inspected yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """A file, a folder of frames or a tar member, with its label."""

    path: str
    member: str | None = None
    label: str | None = None
    problem: str | None = None  # why it cannot be used, if the source already knows, such as "compressed tar"
    detail: str | None = None  # a sentence on the problem

    @property
    def name(self) -> str:
        return self.path if self.member is None else f"{self.path}::{self.member}"
