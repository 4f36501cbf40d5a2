"""List of the files that a command could not use: JSON lines beside the manifest, one per file."""

from __future__ import annotations

import json
from pathlib import Path

from worldmodel.manifest import stored_path


def rejected_path(manifest: Path) -> Path:
    """The path of the list that belongs to a manifest."""
    return manifest.with_name(f"{manifest.name}.rejected.jsonl")


def rejected_line(path: str, member: str | None, reason: str, detail: str | None, folder: Path) -> str:
    """A line of the list. The path is stored relative to `folder`, as in a manifest."""
    fields = {"path": stored_path(path, folder), "member": member, "reason": reason, "detail": detail or reason}
    return json.dumps(fields, ensure_ascii=False) + "\n"
