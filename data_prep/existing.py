"""What stands already where a command wants to write. Only what the same command made may be replaced."""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import PrepError
from data_prep.sources import Survey, folder
from worldmodel.files.json_files import parsed
from worldmodel.files.output_errors import output_errors
from worldmodel.files.output_mark import made_by, write_mark
from worldmodel.manifest import Manifest, ManifestError


def check_manifest(path: Path, command: str, advice: str) -> None:
    """Raises PrepError where `path` is anything but a manifest that `command` made, or nothing at all."""
    check_no_link(path, advice)
    if not path.exists():
        return
    try:
        maker = str(Manifest.open(path).metadata.get("command") or "other hands")
    except ManifestError:
        raise PrepError(f"{path}: exists, and is not a manifest; it is not overwritten; {advice}") from None
    if not maker.startswith(f"python -m {command}"):
        raise PrepError(f"{path}: exists, and was made by {maker}; it is not overwritten; {advice}")


def check_lines(path: Path, key: str, advice: str) -> None:
    """Raises PrepError where `path` holds anything but JSON lines of which the first has this key, or was cut short."""
    check_no_link(path, advice)
    if not path.exists():
        return
    with open(path, "rb") as lines:
        first = lines.readline(1 << 20)
    try:
        ours = not first or key in parsed(first)
    except (ValueError, TypeError):
        ours = first.startswith(b'{"') and not first.endswith(b"\n")
    if not ours:
        raise PrepError(f"{path}: exists, and `python -m data_prep` did not make it; it is not overwritten; {advice}")


def check_absent(path: Path, advice: str) -> None:
    """Raises PrepError where there is anything at `path`."""
    check_no_link(path, advice)
    if path.exists():
        raise PrepError(f"{path}: exists already, and this command did not make it; it is not overwritten; {advice}")


def check_no_link(path: Path, advice: str) -> None:
    """Raises PrepError for a symbolic link: what it points to would stay as it is, and the link be lost."""
    if path.is_symlink():
        raise PrepError(f"{path}: is a symbolic link to {path.readlink()}; it is not overwritten; {advice}")


def claim_folder(out: Path, command: str) -> None:
    """Make a folder and mark it as filled by `command`.

    Raises PrepError for a folder with videos of others, which would be left out of an index as if the command had made them.
    """
    if out.exists() and not out.is_dir():
        raise PrepError(f"{out}: exists, and is not a folder; choose another one")
    if out.exists() and made_by(out) is None:
        for item in folder.find(out, Survey()):
            if item.problem is None:
                raise PrepError(f"{out}: holds videos that {command} did not make ({item.name}); choose a folder of its own")
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_mark(out, f"python -m {command}")
