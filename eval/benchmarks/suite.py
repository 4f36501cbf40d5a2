"""A benchmark, read: its trials, and what one must know about it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from eval.trials import Trial


@dataclass(frozen=True)
class Published:
    """How the field cuts this benchmark's films; frames count at `fps`."""

    fps: float
    window_frames: int
    stride_frames: int
    contexts: tuple[int, ...]


@dataclass(frozen=True)
class Suite:
    name: str
    path: Path
    trials: tuple[Trial, ...]
    source: str  # where the data come from, and on what terms
    lawful: str | None = None  # a manifest of films in which nothing impossible happens
    protocol: Published | None = None
    notes: tuple[str, ...] = ()  # known defects, and what is secret

    @cached_property
    def hash(self) -> str:
        """Of the trials, wherever they lie: 16 hex digits."""
        rows = [asdict(trial) for trial in self.trials]
        for row in rows:
            for film in row["films"]:
                film["path"] = Path(film["path"]).name
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]
