"""OutputError: the error for a file that cannot be written. Standard library only."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ONLY_ON_WRITING = DISK_FULL | {errno.EROFS}  # reading never fails with these
UNWRITABLE = ONLY_ON_WRITING | {errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE}


class OutputError(OSError):
    """A file cannot be written, for example because the disk is full. The input is not the cause.

    `filename` is the file, `errno` the reason. For a full disk the message gives the free space.
    """

    def __init__(self, code: int, strerror: str, filename: str) -> None:
        super().__init__(code, strerror, filename)

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written: {self.strerror}"

    @classmethod
    def of(cls, code: int, path: Path | str) -> OutputError:
        """The error for an errno that occurred while `path` was written."""
        return cls(code, f"{os.strerror(code)}{_free_space(Path(path)) if code in DISK_FULL else ''}", str(path))


@contextmanager
def output_errors(path: Path | str) -> Iterator[None]:
    """Convert errors of writing into OutputErrors of `path`. The block must do nothing but write `path`.

    This includes errors of FFmpeg, which have an errno but are not all OSErrors.
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


def _free_space(path: Path) -> str:
    """The free space of the file's disk, such as " (0.1 MB left)"; "" where it is unknown."""
    for folder in path.absolute().parents:
        try:
            return f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB left)"
        except OSError:
            continue  # this folder does not exist
    return ""
