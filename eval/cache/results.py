"""Answers of long work, kept one by one, so that the same command again goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eval.result_folder import read_json
from worldmodel.files.atomic import write_json
from worldmodel.files.file_names import file_name_for
from worldmodel.process.terminal import say

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Kept:
    """Answers in a folder, a JSON file each."""

    folder: Path

    @classmethod
    def of(cls, out: Path, asked: Mapping[str, Any]) -> Kept:
        """In OUT/answers/<digest of all that they depend on, this code too>: asked otherwise, nothing of it is used."""
        said = json.dumps({**asked, "code": code_digest()}, sort_keys=True, default=str)
        return cls(out / "answers" / hashlib.sha256(said.encode()).hexdigest()[:16])

    def get(self, name: str, answer: Callable[[], Answer]) -> Answer:
        """The answer that was kept, else `answer()`, which is kept. It must come back from JSON as it went."""
        file = self.folder / file_name_for(name, ".json")
        if file.exists():
            stored = read_json(file) or {}
            if "answer" in stored and stored.get("sha256") == _digest(stored["answer"]):
                kept: Answer = stored["answer"]
                return kept
            say(f"{file} was damaged or changed since it was written; it is made again", file=sys.stderr)
        made = answer()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(file, {"answer": made, "sha256": _digest(made)})
        return made

    def forget(self) -> None:
        """Once all is answered and written; what was asked otherwise goes with it."""
        if self.folder.parent.exists():
            shutil.rmtree(self.folder.parent)


def _digest(answer: Any) -> str:
    return hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()


def code_digest() -> str:
    """Of the source files that answers are made by."""
    digest = hashlib.sha256()
    for package in ("eval", "worldmodel", "data_prep"):
        for file in sorted((Path(__file__).resolve().parents[2] / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def content_digest(*files: Path) -> str:
    """Of files that answers depend on; one that is not there counts as empty."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes() if file.is_file() else b"").digest())
    return digest.hexdigest()
