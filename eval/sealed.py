"""Digests beside files of finished work, so that a file that was cut or changed is made again instead of used.

FOLDER/00003.npz            the result of one piece of work
FOLDER/00003.unread.json    what belongs to it
FOLDER/00003.sha256         a digest of both, written last
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from worldmodel.atomic import write_text
from worldmodel.outputs import sha256_of

SEAL = ".sha256"


def seal(file: Path) -> None:
    """Write the digest of a finished file and of the files that belong to it, which have the same stem."""
    write_text(_seal_of(file), _digest(file) + "\n")


def is_whole(file: Path, names: Sequence[str] | None = None) -> bool | None:
    """Whether a file and what belongs to it are what was sealed; None where the file is missing or was never sealed.

    names: of what is in its folder, or of those that begin with its stem, where they are known.
    """
    try:
        sealed = _seal_of(file).read_bytes().strip()
    except OSError:
        return None
    return sealed == _digest(file, names).encode() if file.is_file() else None


def discard(file: Path, names: Sequence[str] | None = None) -> None:
    """Remove a file, its seal, and what belongs to it. names: as for `is_whole`."""
    for path in (_seal_of(file), *_together(file, names)):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def names_by_stem(folder: Path) -> dict[str, list[str]]:
    """Names of the files of a folder by what stands before their first dot; empty where there is no folder."""
    found: dict[str, list[str]] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            found.setdefault(name.partition(".")[0], []).append(name)
    return found


def _seal_of(file: Path) -> Path:
    return file.with_name(file.stem + SEAL)


def _together(file: Path, names: Sequence[str] | None) -> list[Path]:
    """The file, and the files beside it whose names begin with its stem and a dot."""
    names = os.listdir(file.parent) if names is None else names
    return [
        file.parent / name for name in sorted(names) if name.startswith(f"{file.stem}.") and not name.endswith((SEAL, ".part"))
    ]


def _digest(file: Path, names: Sequence[str] | None = None) -> str:
    digest = hashlib.sha256()
    for path in _together(file, names):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()
