"""A benchmark, read: its trials, and what one must know about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from eval.voe.trials import Trial


@dataclass(frozen=True)
class Published:
    """How the field cuts this benchmark's films; frames count at `fps`."""

    fps: float
    window_frames: int
    stride_frames: int
    contexts: tuple[int, ...]


@dataclass(frozen=True)
class Count:
    """How many there are of something in the folder, and in the whole benchmark."""

    what: str
    found: int
    expected: int

    @property
    def complete(self) -> bool:
        return self.found == self.expected


@dataclass(frozen=True)
class Suite:
    """Trials in a fixed order, the same wherever the folder lies; only their paths begin with it."""

    name: str
    path: Path
    trials: tuple[Trial, ...]
    source: str  # where the data come from, and on what terms
    lawful: str | None = None  # a manifest of films in which nothing impossible happens
    protocol: Published | None = None
    notes: tuple[str, ...] = ()  # known defects, and what is secret
    magnitudes: Mapping[str, str] = field(default_factory=dict)  # by property: what a trial's magnitude is, with its unit
    counts: tuple[Count, ...] = ()  # of the published benchmark; a part of it can be evaluated, but says so

    @cached_property
    def hash(self) -> str:
        """Of the trials, wherever they lie: 16 hex digits."""
        rows = [asdict(trial) for trial in self.trials]
        for row in rows:
            for film in row["films"]:
                film["path"] = Path(film["path"]).name
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def incomplete(counts: tuple[Count, ...]) -> tuple[str, ...]:
    """A note for the reader for each count that falls short of the published benchmark."""
    return tuple(
        f"Not the whole benchmark: {count.found} {count.what}, published are {count.expected}."
        for count in counts
        if not count.complete
    )
