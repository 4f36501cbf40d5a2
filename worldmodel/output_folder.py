"""Marks of folders that this project fills with videos and pictures, so that they are never taken for a user's data set."""

from __future__ import annotations

import json
from pathlib import Path

from worldmodel.video.errors import output_errors
from worldmodel.video.write import beside

MARK = ".worldmodel.json"
NOTES = {MARK, "transcode.json", ".making", "recipe.yaml", "protocol.json", "gallery.html"}
"""A folder that this project filled has at least one file of these names; `made_by` reads it."""
TRANSCODE_KEYS = {"short_side_px", "max_fps", "gop"}


def mark_output(folder: Path, command: str) -> None:
    """Make the folder, and write into it that `command` filled it. Raises OutputError.

    A folder that already holds other things is not marked: they may be a user's videos, which an index must not leave out.
    """
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            return
    write_mark(folder, command)


def write_mark(folder: Path, command: str) -> None:
    """Mark a folder, whatever it holds. Raises OutputError."""
    with beside(folder / MARK) as part:
        part.write_text(json.dumps({"made_by": command}) + "\n", encoding="utf-8")


def made_by(folder: Path | str) -> str | None:
    """The command that filled a folder, or None for a folder that this project did not fill.

    Known by its mark; folders without one, which earlier versions left, by the files that each command writes.
    """
    folder = Path(folder)
    if (folder / MARK).is_file():
        return _object(folder / MARK).get("made_by") or "this project"
    if _object(folder / "transcode.json").keys() >= TRANSCODE_KEYS:
        return "data_prep transcode"
    if (folder / ".making").is_dir():
        return "data_prep synthesize"
    if (folder / "recipe.yaml").is_file() and (folder / "checkpoints").is_dir():
        return "worldmodel/train.py"
    if (folder / "protocol.json").is_file() and (folder / "traces.parquet").is_file():
        return "eval physics"
    if (folder / "gallery.html").is_file() and (folder / "horizon.json").is_file():
        return "worldmodel.rollout"
    return None


def _object(file: Path) -> dict[str, str]:
    """The JSON object in a file; empty where there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
