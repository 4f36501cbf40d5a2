"""Checks of what exists where a command is going to write.

Only what the same command wrote may be replaced.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import PrepError
from data_prep.sources import SkippedFiles, folder
from worldmodel.files.json_files import parse_json
from worldmodel.files.output_errors import output_errors
from worldmodel.files.output_mark import mark_folder, writer_of
from worldmodel.manifest import Manifest, ManifestError


def check_manifest(path: Path, command: str, advice: str) -> None:
    """Raise PrepError if `path` exists and is not a manifest that `command` wrote."""
    check_no_link(path, advice)
    if not path.exists():
        return
    try:
        writer = str(Manifest.open(path).metadata.get("command") or "another program")
    except ManifestError:
        raise PrepError(f"{path}: exists and is not a manifest, so it is not overwritten; {advice}") from None
    if not writer.startswith(f"python -m {command}"):
        raise PrepError(f"{path}: exists and was made by {writer}, so it is not overwritten; {advice}")


def check_lines(path: Path, key: str, advice: str) -> None:
    """Raise PrepError if `path` exists and does not begin with an object with this key.

    A first line that was cut short is accepted.
    """
    check_no_link(path, advice)
    if not path.exists():
        return
    with open(path, "rb") as lines:
        first = lines.readline(1 << 20)
    try:
        is_own = not first or key in parse_json(first)
    except (ValueError, TypeError):
        is_own = first.startswith(b'{"') and not first.endswith(b"\n")
    if not is_own:
        raise PrepError(f"{path}: exists and was not made by `python -m data_prep`, so it is not overwritten; {advice}")


def check_absent(path: Path, advice: str) -> None:
    """Raise PrepError if `path` exists."""
    check_no_link(path, advice)
    if path.exists():
        raise PrepError(f"{path}: exists and was not made by this command, so it is not overwritten; {advice}")


def check_no_link(path: Path, advice: str) -> None:
    """Raise PrepError for a symbolic link.

    Writing would replace the link and leave its target as it is.
    """
    if path.is_symlink():
        raise PrepError(f"{path}: is a symbolic link to {path.readlink()}, so it is not overwritten; {advice}")


def claim_folder(out: Path, command: str) -> None:
    """Create a folder and mark it as the output of `command`.

    Raises PrepError for a folder with videos of other origin. In a marked folder, `index` would
    skip them.
    """
    if out.exists() and not out.is_dir():
        raise PrepError(f"{out}: exists and is not a folder; choose another one")
    if out.exists() and writer_of(out) is None:
        for item in folder.find(out, SkippedFiles()):
            if item.problem is None:
                raise PrepError(f"{out}: holds videos that {command} did not make ({item.name}); choose a separate folder")
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    mark_folder(out, f"python -m {command}")
