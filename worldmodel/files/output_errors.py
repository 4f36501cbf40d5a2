"""OutputError: a file that cannot be written. Standard library only."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
WRITE_ONLY = FULL | {errno.EROFS}  # reading never fails with these
UNWRITABLE = WRITE_ONLY | {errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE}


class OutputError(OSError):
    """A file that cannot be written, because the disk is full, for example. It says nothing about the input.

    `filename` is the file, `errno` the reason. The message says how much room is left where the disk is full.
    """

    def __init__(self, code: int, strerror: str, filename: str) -> None:
        super().__init__(code, strerror, filename)

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written: {self.strerror}"

    @classmethod
    def of(cls, code: int, path: Path | str) -> OutputError:
        """The error that the operating system means by `code`, on writing `path`."""
        return cls(code, f"{os.strerror(code)}{_room_left(Path(path)) if code in FULL else ''}", str(path))


@contextmanager
def output_errors(path: Path | str) -> Iterator[None]:
    """Turn errors of writing into OutputErrors of `path`. The block must do nothing but write `path`.

    The errors of FFmpeg count too: they have an errno, but are not all OSErrors.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        code = getattr(error, "errno", None)
        if code not in UNWRITABLE:
            raise
        raise OutputError.of(code, path) from error


def _room_left(path: Path) -> str:
    """How much room the disk of a file has: ` (0.1 MB left)`; nothing where this cannot be known."""
    for folder in path.absolute().parents:
        try:
            return f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB left)"
        except OSError:
            continue  # the folder was not made
    return ""
