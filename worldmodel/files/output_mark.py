"""Marks of folders that this project fills with videos and pictures. An index of a user's videos skips them."""

from __future__ import annotations

import json
from pathlib import Path

from worldmodel.files.atomic import write_text
from worldmodel.files.json_files import read_json_object
from worldmodel.files.output_errors import output_errors

MARK_FILE = ".worldmodel.json"
TRANSCODE_KEYS = {"short_side_px", "max_fps", "gop"}
WRITTEN_BY = {  # command -> files and folders that together identify a folder that it filled
    "data_prep synthesize": (".making",),
    "worldmodel/train.py": ("recipe.yaml", "checkpoints"),
    "worldmodel.rollout": ("gallery.html", "horizon.json"),
    "eval voe": ("protocol.json", "traces.parquet"),
    "eval probe": ("probe.json", "probe.md"),
    "eval forecast": ("forecast.json", "forecast.md"),
    "eval sweep": ("sweep.json", "sweep.md"),
    "eval tradeoff": ("tradeoff.json", "tradeoff.md"),  # of earlier versions
    "eval ablate": ("ablation.json", "ablation.md"),  # of earlier versions
}
MARKER_NAMES = {MARK_FILE, "transcode.json", *(names[0] for names in WRITTEN_BY.values())}
"""Every folder that this project filled has at least one of these names. `writer_of` checks further."""


def mark_new_folder(folder: Path, command: str) -> None:
    """Create a folder and mark it as filled by `command`. Raises OutputError.

    A folder that is not empty is not marked: it may have videos of the user, which an index must include.
    """
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            return
    mark_folder(folder, command)


def mark_folder(folder: Path, command: str) -> None:
    """Mark a folder with any content. An existing mark is kept. Raises OutputError."""
    if (folder / MARK_FILE).is_file():
        return
    write_text(folder / MARK_FILE, json.dumps({"made_by": command}) + "\n")


def writer_of(folder: Path | str) -> str | None:
    """The command that filled a folder; None for a folder that this project did not fill.

    It is identified by the mark of the folder, else by the files that each command writes.
    """
    folder = Path(folder)
    if (folder / MARK_FILE).is_file():
        return _json_object(folder / MARK_FILE).get("made_by") or "this project"
    if _json_object(folder / "transcode.json").keys() >= TRANSCODE_KEYS:
        return "data_prep transcode"
    for command, names in WRITTEN_BY.items():
        if all((folder / name).exists() for name in names):
            return command
    return None


def _json_object(file: Path) -> dict[str, str]:
    """The JSON object in a file; an empty one where it cannot be read."""
    try:
        value = read_json_object(file, ValueError)
    except ValueError:
        return {}
    return value
