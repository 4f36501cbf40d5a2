"""The content of a benchmark: its trials, and notes on its protocol, size and defects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from eval.voe.trials import Trial
from worldmodel.video.geometry import Geometry


@dataclass(frozen=True)
class PublishedProtocol:
    """The published windows of a benchmark. Frames count at `fps`."""

    fps: float
    window_frames: int
    stride_frames: int
    contexts: tuple[int, ...]


@dataclass(frozen=True)
class Count:
    """How many of something are in the folder, and how many in the whole benchmark."""

    what: str
    found: int
    expected: int

    @property
    def complete(self) -> bool:
        return self.found == self.expected


@dataclass(frozen=True)
class Suite:
    """A benchmark. The order of its trials does not depend on the location of the folder."""

    name: str
    path: Path
    trials: tuple[Trial, ...]
    source: str  # where the data come from, and on what terms
    calibration: str | None = None  # manifest of possible videos, on which errors are calibrated
    protocol: PublishedProtocol | None = None
    geometry: Geometry = "center_crop"  # how frames become square by default
    notes: tuple[str, ...] = ()  # known defects, and which labels are secret
    magnitudes: Mapping[str, str] = field(default_factory=dict)  # by property: the meaning and unit of a trial's magnitude
    title: str = ""  # of a synthetic suite: its world
    counts: tuple[Count, ...] = ()  # compared with the published benchmark; an incomplete one can be evaluated and gets a note

    @cached_property
    def hash(self) -> str:
        """Digest of the trials, independent of the folder: 16 hex digits."""
        rows = [asdict(trial) for trial in self.trials]
        for row in rows:
            for video in row["videos"]:
                video["path"] = Path(video["path"]).name
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def incomplete_notes(counts: tuple[Count, ...]) -> tuple[str, ...]:
    """A note for each count that falls short of the published benchmark."""
    return tuple(
        f"Not the whole benchmark: {count.found} {count.what} of {count.expected} that were published."
        for count in counts
        if not count.complete
    )
