"""Read one window, and sort what can go wrong: the clip is bad, its storage is gone, or the machine lacks something.

Imports neither torch nor the manifest, so that a process that reads starts in a fraction of a second and stays small.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from worldmodel.video import VideoError
from worldmodel.video.container.timing import Timing
from worldmodel.video.read import Backend
from worldmodel.video.square import read_square

RETRY_S = 1.0  # between two attempts to read from storage that is gone
_ATTEMPTS = 3  # for a file that alone does not answer, though its folder does

# Errors of a machine that lacks something. They say nothing about the file that was read.
MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOBUFS, errno.EDQUOT}
# Errors of storage that does not answer. The content of a file never causes them.
STORAGE = {
    errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENODEV,
}  # fmt: skip


@dataclass(frozen=True)
class ReadRequest:
    """Which frames of which file to read. Exactly one of `times_s` and `indices` is given."""

    path: str
    member: str | None
    times_s: tuple[float, ...] | None
    indices: tuple[int, ...] | None
    timing: Timing | None
    folder_fps: float
    size_px: int
    crop_at: float  # where the square is cut out, see `cut_square`
    backend: Backend

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the frames: [T, H, W, 3]."""
        return len(self.times_s or self.indices or ()), self.size_px, self.size_px, 3


@dataclass(frozen=True)
class ReadFailure:
    """Why a window could not be read.

    clip: the file itself is bad. folder: the file is missing together with `folder`, which does not exist, cannot be entered
    or is empty. storage: `folder` does not answer. machine: this machine lacks something, such as file descriptors.
    """

    kind: Literal["clip", "folder", "storage", "machine"]
    reason: str
    folder: str = ""


def read_window(request: ReadRequest) -> np.ndarray | ReadFailure:
    """The frames as uint8 [T, size_px, size_px, 3], or why they cannot be read. Raises nothing that is an Exception."""
    for attempt in range(_ATTEMPTS):
        try:
            frames = read_square(
                request.path,
                request.size_px,
                "crop",
                times_s=request.times_s,
                indices=request.indices,
                at=request.crop_at,
                member=request.member,
                backend=request.backend,
                folder_fps=request.folder_fps,
                timing=request.timing,
            )
            if (frames.shape, frames.dtype) == (request.shape, np.uint8):
                return frames
            return ReadFailure("clip", f"gave frames of {frames.dtype} {list(frames.shape)}, not uint8 {list(request.shape)}")
        except Exception as error:  # decoders and damaged files raise almost anything
            failure, may_pass = _failure_of(error, request.path)
        if not may_pass:
            break
        if attempt < _ATTEMPTS - 1:
            time.sleep(RETRY_S)
    return failure


def _failure_of(error: Exception, path: str) -> tuple[ReadFailure, bool]:
    """What an error means, and whether it may pass soon although the folder of the file answers."""
    reason = _reason(error)
    causes = list(_chain(error))
    # FFmpeg gives its errors the same numbers, but they come from the content: files are opened and read by Python
    codes = {it.errno for it in causes if isinstance(it, OSError) and not type(it).__module__.startswith("av.")}
    if codes & MACHINE or any("can't start new thread" in str(cause) for cause in causes if isinstance(cause, RuntimeError)):
        return ReadFailure("machine", reason), False
    if codes & (STORAGE | {errno.EIO}) and (folder := _silent_folder(path)):
        return ReadFailure("storage", reason, folder), False
    if codes & STORAGE:
        return ReadFailure("clip", reason), True
    try:
        os.stat(path)
    except (OSError, ValueError) as gone:  # ValueError: a zero byte in the path
        if getattr(gone, "errno", None) in STORAGE:
            return ReadFailure("storage", reason, str(Path(path).parent)), False
        if folder := _vanished_folder(path):
            return ReadFailure("folder", reason, folder), False
        return ReadFailure("clip", reason), False
    return ReadFailure("clip", reason), bool(codes & {errno.ENOENT, errno.ENOTDIR})  # it is back already


def _reason(error: Exception) -> str:
    if isinstance(error, VideoError):
        return error.detail or error.reason  # without the path, which is named beside it
    if isinstance(error, MemoryError):
        return "MemoryError: there was not enough memory to read this window; damaged files can ask for any amount"
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from, also where a reader hides that by `from None`."""
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _silent_folder(path: str) -> str:
    """The folder of a file, if listing it fails with an error other than that it is missing or closed to this user."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        _is_empty(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
    except OSError:
        return folder
    return ""


def _vanished_folder(path: str) -> str:
    """The outermost folder above a file that is missing, closed or empty (as a mount point is after unmounting)."""
    vanished = ""
    for folder in map(str, Path(os.path.abspath(path)).parents):
        try:
            if _is_empty(folder):
                return folder
        except PermissionError:
            if not os.access(folder, os.X_OK):
                vanished = folder
            continue
        except (OSError, ValueError):
            vanished = folder
            continue
        break
    return vanished


def _is_empty(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None
