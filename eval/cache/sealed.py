"""Checksum files next to finished files. A file that was cut off or changed is computed again.

FOLDER/00003.npz            the result of one piece of work
FOLDER/00003.unread.json    a file that belongs to it
FOLDER/00003.sha256         a digest of both, written last
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from worldmodel.files.atomic import write_text
from worldmodel.files.outputs import sha256_of

SEAL = ".sha256"
UNREAD = ".unread.json"  # the videos that a result lacks
LEFT_OUT = ".left_out.json"  # the videos that a calibration lacks


def seal(file: Path) -> None:
    """Write the digest of a finished file and of the files that belong to it."""
    write_text(_seal_of(file), _digest(file) + "\n")


def is_whole(file: Path) -> bool | None:
    """Whether a file and what belongs to it are unchanged since `seal`.

    None where the file is missing or was never sealed.
    """
    try:
        sealed = _seal_of(file).read_bytes().strip()
    except OSError:
        return None
    return sealed == _digest(file).encode() if file.is_file() else None


def discard(file: Path) -> None:
    """Remove a file, its seal, and the files that belong to it."""
    for path in (_seal_of(file), *_together(file)):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _seal_of(file: Path) -> Path:
    return file.with_name(file.stem + SEAL)


def _together(file: Path) -> list[Path]:
    """The file and those that can belong to it, by name.

    The folder is not listed: it may hold thousands of files.
    """
    return sorted((file, *(file.with_name(file.stem + suffix) for suffix in (UNREAD, LEFT_OUT))))


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    for path in _together(file):
        if path.exists():
            digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()
