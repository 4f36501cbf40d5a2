"""Read the frames of one window, and classify errors: a bad clip, missing storage, or a limit of the machine.

Imports neither torch nor the manifest, so that worker processes start in a fraction of a second and stay small.
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
from worldmodel.video.backends import Backend
from worldmodel.video.container.timing import Timing
from worldmodel.video.geometry import read_square_frames

RETRY_S = 1.0  # between two attempts to read from storage that is missing
_ATTEMPTS = 3  # for a file that does not answer although its folder does

# Errors of a machine that lacks a resource. They say nothing about the file that was read.
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
    crop_position: float  # where the square is cut out, see `worldmodel.video.geometry.crop_square`
    backend: Backend

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the frames: [T, H, W, 3]."""
        return len(self.times_s or self.indices or ()), self.size_px, self.size_px, 3


@dataclass(frozen=True)
class ReadFailure:
    """Why a window could not be read.

    kind: "clip": the file itself is bad. "folder": the file is missing together with `folder`, which does not exist, cannot
    be entered or is empty. "storage": `folder` does not answer. "machine": this machine lacks a resource, such as file
    descriptors.
    """

    kind: Literal["clip", "folder", "storage", "machine"]
    reason: str
    folder: str = ""


def read_window(request: ReadRequest) -> np.ndarray | ReadFailure:
    """Read frames as uint8 [T, size_px, size_px, 3], or return why they cannot be read. Raises no `Exception`.

    The array may be a view of wider frames, to be copied to where it is needed.
    """
    for attempt in range(_ATTEMPTS):
        try:
            frames = read_square_frames(
                request.path,
                request.size_px,
                "center_crop",
                times_s=request.times_s,
                indices=request.indices,
                position=request.crop_position,
                member=request.member,
                backend=request.backend,
                folder_fps=request.folder_fps,
                timing=request.timing,
                copy=False,
            )
            if (frames.shape, frames.dtype) == (request.shape, np.uint8):
                return frames
            return ReadFailure("clip", f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 {list(request.shape)}")
        except Exception as error:  # decoders and damaged files raise almost anything
            failure, retry = _classify(error, request.path)
        if not retry:
            break
        if attempt < _ATTEMPTS - 1:
            time.sleep(RETRY_S)
    return failure


def _classify(error: Exception, path: str) -> tuple[ReadFailure, bool]:
    """What an error means, and whether another attempt may succeed soon although the folder of the file answers."""
    reason = _reason(error)
    causes = list(_causes(error))
    # FFmpeg uses the same error numbers for errors of the content; files themselves are opened and read by Python
    codes = {e.errno for e in causes if isinstance(e, OSError) and not type(e).__module__.startswith("av.")}
    if codes & MACHINE or any("can't start new thread" in str(cause) for cause in causes if isinstance(cause, RuntimeError)):
        return ReadFailure("machine", reason), False
    if codes & (STORAGE | {errno.EIO}) and (folder := _unresponsive_folder(path)):
        return ReadFailure("storage", reason, folder), False
    if codes & STORAGE:
        return ReadFailure("clip", reason), True
    try:
        os.stat(path)
    except (OSError, ValueError) as missing:  # ValueError: a zero byte in the path
        if getattr(missing, "errno", None) in STORAGE:
            return ReadFailure("storage", reason, str(Path(path).parent)), False
        if folder := _missing_folder(path):
            return ReadFailure("folder", reason, folder), False
        return ReadFailure("clip", reason), False
    return ReadFailure("clip", reason), bool(codes & {errno.ENOENT, errno.ENOTDIR})  # the file was missing, but exists again


def _reason(error: Exception) -> str:
    if isinstance(error, VideoError):
        return error.detail or error.reason  # without the path, which is named beside the reason
    if isinstance(error, MemoryError):
        return "MemoryError: there was not enough memory to read this window; damaged files may request any amount"
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from, also where a reader hides that by `from None`."""
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _unresponsive_folder(path: str) -> str:
    """The folder of a file if it cannot be listed for another reason than being missing or forbidden; else ""."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        _is_empty(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
    except OSError:
        return folder
    return ""


def _missing_folder(path: str) -> str:
    """The outermost parent folder that is missing, forbidden or empty (as a mount point is after unmounting); else ""."""
    missing = ""
    for folder in map(str, Path(os.path.abspath(path)).parents):
        try:
            if _is_empty(folder):
                return folder
        except PermissionError:
            if not os.access(folder, os.X_OK):
                missing = folder
            continue
        except (OSError, ValueError):
            missing = folder
            continue
        break
    return missing


def _is_empty(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None
