"""The errors of this package: VideoError for a video that cannot be read, OutputError for a file that cannot be written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldmodel.untrusted.terminal import on_one_line

MAX_PIXELS = 1 << 27  # of one picture: 16K video has 132,710,400
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
WRITE_ONLY = FULL | {errno.EROFS}  # reading never fails with these
UNWRITABLE = WRITE_ONLY | {errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ESTALE}


class VideoError(ValueError):
    """A video that cannot be read, or was asked for what it does not have.

    path: the file (`shard.tar::clip.mp4` for a tar member). reason: a few words that repeat from file to file, so that
    an index can count them: "empty file", "truncated", "no video stream", "too short", "past the end", ...
    """

    def __init__(self, path: str, reason: str, detail: str = "") -> None:
        super().__init__(f"{on_one_line(str(path))}: {detail or reason}")
        self.path, self.reason, self.detail = str(path), reason, detail

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str, str]]:
        return VideoError, (self.path, self.reason, self.detail)  # so that it crosses from a worker process


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
def reading_errors(name: str) -> Iterator[None]:
    """Turn whatever reading a damaged video raises into a VideoError. `name` says which video.

    FFmpeg, Pillow, numpy and tarfile raise many types of error for damaged files. OutputErrors, which a block that also writes
    may raise, pass.
    """
    try:
        yield
    except (VideoError, OutputError):
        raise
    except MemoryError:
        raise VideoError(name, "too large", "reading it takes more memory than there is") from None
    except PermissionError:
        raise VideoError(name, "no permission", "this user may not read the file") from None
    except OSError as error:
        raise VideoError(name, "unreadable file", error.strerror or str(error)) from error
    except Exception as error:
        raise VideoError(name, "corrupt", f"it cannot be read ({type(error).__name__}: {error})") from error


def check_pixels(name: str, height: int, width: int) -> None:
    """Raise VideoError for a picture with more than MAX_PIXELS: a damaged header may claim any size."""
    if height * width > MAX_PIXELS:
        raise VideoError(
            name, "too large", f"its pictures have {width} x {height} pixels; at most {MAX_PIXELS:,} are read (16K video)"
        )


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
