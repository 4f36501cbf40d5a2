"""The files of a run folder that are uploaded, and their versions. Hidden files are locks and temporary files."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worldmodel.checkpoint.remote import STATE
from worldmodel.files.json_files import parse_json
from worldmodel.uploads.identity import IDENTITY

Version = tuple[int, int]
"""Time of the last change in ns, and size."""

_CHECKPOINT = re.compile(r"[0-9]+")
_SNAPSHOT = ".upload"  # folder of hard links to the checkpoint that is being sent


def checkpoint_names(run: Path) -> list[str]:
    """Names of the finished checkpoints of a run folder, the last one first."""
    try:
        names = [entry.name for entry in os.scandir(run / "checkpoints") if _CHECKPOINT.fullmatch(entry.name)]
    except FileNotFoundError:
        return []
    return sorted((name for name in names if (run / "checkpoints" / name / STATE).is_file()), key=int, reverse=True)


def other_files(run: Path) -> Iterator[str]:
    """Names of all other regular files of a run folder, relative to it, with slashes. Links to files count as files."""
    for folder, folders, files in os.walk(run):
        below = os.path.relpath(folder, run)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (below, name) != (".", "checkpoints"))
        for file in sorted(files):
            name = file if below == "." else f"{below}/{file}".replace(os.sep, "/")
            if not file.startswith(".") and name != IDENTITY and os.path.isfile(os.path.join(folder, file)):
                yield name


def digests_in(state: bytes) -> dict[str, str]:
    """SHA-256 of the files that the content of a state.json names; empty where it is damaged."""
    try:
        return {str(file): str(digest) for file, digest in parse_json(state)["sha256"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def file_version(path: Path) -> Version:
    """The version of a file. Raises OSError."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def file_versions(folder: Path) -> dict[str, Version]:
    """The versions of all files below a folder, by their relative names; empty where it was removed."""
    try:
        files = [path for path in sorted(folder.rglob("*")) if not path.name.startswith(".") and path.is_file()]
        return {path.relative_to(folder).as_posix(): file_version(path) for path in files}
    except FileNotFoundError:
        return {}


@contextmanager
def snapshot(run: Path, folder: Path, files: Mapping[str, Version]) -> Iterator[Path]:
    """Give a folder of hard links to files of a checkpoint, which the training may remove meanwhile.

    On a file system without hard links it is the checkpoint itself.
    """
    target = run / _SNAPSHOT
    shutil.rmtree(target, ignore_errors=True)
    try:
        try:
            for name in files:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(folder / name, target / name)
        except FileNotFoundError:
            raise
        except OSError:
            target = folder
        yield target
    finally:
        shutil.rmtree(run / _SNAPSHOT, ignore_errors=True)
