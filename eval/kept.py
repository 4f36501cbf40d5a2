"""Answers of long work, kept one by one, so that the same command again goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from worldmodel.checkpoint import write_json

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Kept:
    """Answers in a folder, a JSON file each."""

    folder: Path

    @classmethod
    def of(cls, out: Path, asked: Mapping[str, Any]) -> Kept:
        """In OUT/parts/<digest of all that answers depend on>: asked otherwise, nothing of it is used."""
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return cls(out / "parts" / digest)

    def get(self, name: str, answer: Callable[[], Answer]) -> Answer:
        """The answer that was kept, else `answer()`, which is kept. It must come back from JSON as it went."""
        file = self.folder / f"{quote(name, safe=' ')}.json"
        if file.exists():
            kept: Answer = json.loads(file.read_text(encoding="utf-8"))["answer"]
            return kept
        made = answer()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(file, {"answer": made})
        return made

    def forget(self) -> None:
        """Once all is answered and written; what was asked otherwise goes with it."""
        if self.folder.parent.exists():
            shutil.rmtree(self.folder.parent)
