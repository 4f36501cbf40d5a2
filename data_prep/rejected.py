"""The list of files that a command could not use: JSON lines, a row a file, beside the manifest."""

from __future__ import annotations

import json
from pathlib import Path

from worldmodel.manifest import stored_path


def listing_of(manifest: Path) -> Path:
    """Where the list stands."""
    return manifest.with_name(f"{manifest.name}.rejected.jsonl")


def row(path: str, member: str | None, reason: str, detail: str | None, folder: Path) -> str:
    """A line of the list in `folder`: path (as a manifest stores it), member, reason (a few words), detail (a sentence)."""
    said = {"path": stored_path(path, folder), "member": member, "reason": reason, "detail": detail or reason}
    return json.dumps(said, ensure_ascii=False) + "\n"
