"""Marks of folders that this project fills with videos and pictures, so that they are never taken for a user's data set."""

from __future__ import annotations

import json
from pathlib import Path

from worldmodel.files.atomic import write_text
from worldmodel.files.json_files import read_object
from worldmodel.files.output_errors import output_errors

MARK = ".worldmodel.json"
TRANSCODE_KEYS = {"short_side_px", "max_fps", "gop"}
WRITTEN_BY = {  # files and folders that together tell which command filled a folder
    "data_prep synthesize": (".making",),
    "worldmodel/train.py": ("recipe.yaml", "checkpoints"),
    "worldmodel.rollout": ("gallery.html", "horizon.json"),
    "eval physics": ("protocol.json", "traces.parquet"),
    "eval probe": ("probe.json", "probe.md"),
    "eval forecast": ("forecast.json", "forecast.md"),
    "eval tradeoff": ("tradeoff.json", "tradeoff.md"),
    "eval ablate": ("ablation.json", "ablation.md"),
}
NOTES = {MARK, "transcode.json", *(names[0] for names in WRITTEN_BY.values())}
"""A folder that this project filled holds at least one of these names; `made_by` looks closer."""


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
    """Mark a folder, whatever it holds. A mark that is there stays. Raises OutputError."""
    if (folder / MARK).is_file():
        return
    write_text(folder / MARK, json.dumps({"made_by": command}) + "\n")


def made_by(folder: Path | str) -> str | None:
    """The command that filled a folder, or None for a folder that this project did not fill.

    Known by its mark, or else by the files that each command writes.
    """
    folder = Path(folder)
    if (folder / MARK).is_file():
        return _object(folder / MARK).get("made_by") or "this project"
    if _object(folder / "transcode.json").keys() >= TRANSCODE_KEYS:
        return "data_prep transcode"
    for command, names in WRITTEN_BY.items():
        if all((folder / name).exists() for name in names):
            return command
    return None


def _object(file: Path) -> dict[str, str]:
    """The JSON object in a file; empty where there is none."""
    try:
        value = read_object(file, ValueError)
    except ValueError:
        return {}
    return value
