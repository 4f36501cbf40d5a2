"""Read the frames of one window, and classify errors: a bad clip, missing storage, or a limit of the machine.

Imports neither torch nor the manifest, so that worker processes start in a fraction of a second and stay small.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from worldmodel.data.token_masks.drawing import MaskRequest, WindowMasks, draw_masks
from worldmodel.files.output_errors import OutputError
from worldmodel.storage.errors import StorageError, causes
from worldmodel.storage.urls import is_url
from worldmodel.video import VideoError
from worldmodel.video.backends import Backend
from worldmodel.video.container.timing import Timing
from worldmodel.video.crop_rectangle import CropRectangle
from worldmodel.video.geometry import read_square_frames, read_square_planes
from worldmodel.video.packet_index.reading import COUNTS
from worldmodel.video.planes import FrameLayout

if TYPE_CHECKING:
    from worldmodel.signals.kept import KeptSignals

_Found = TypeVar("_Found")

RETRY_S = 1.0  # between two attempts to read from storage that is missing
_KEPT_SIGNALS_BYTES = 64 << 20  # of tables of actions and states; reading one takes half as long as the frames of a window
_ATTEMPTS = 3  # for a file that does not answer although its folder does

# Errors of a machine that lacks a resource. They say nothing about the file that was read.
MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOBUFS, errno.EDQUOT}
# Errors of storage that does not answer. The content of a file never causes them.
STORAGE = {
    errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENODEV,
}  # fmt: skip


@dataclass(frozen=True)
class SignalSizes:
    """Sizes of the actions and states of a run. Every window has them, so that windows can be stacked."""

    actions_per_step: int  # recorded actions between two sampled frames (frameskip)
    action: int  # numbers of one recorded action, or of a state difference
    state: int
    differences: bool = False  # the action between two frames is the difference of their states; actions are not read


@dataclass(frozen=True)
class SignalRequest:
    """The signals of which frames to read."""

    path: str | None  # of the table; None: the clip has none
    times_s: tuple[float, ...]  # of the frames, as they are stored in the file
    sizes: SignalSizes


@dataclass(frozen=True)
class WindowSignals:
    """The signals of one window of T frames."""

    actions: np.ndarray  # float32 [T - 1, k, A]: all k actions between two frames that follow one another
    states: np.ndarray  # float32 [T, S], at the frames


@dataclass(frozen=True)
class Place:
    """Bytes of one window in the memory of a micro-batch."""

    begin: int
    nbytes: int


@dataclass(frozen=True)
class ReadRequest:
    """Which frames of which file to read. Exactly one of `times_s` and `indices` is given."""

    path: str
    member: str | None
    times_s: tuple[float, ...] | None
    indices: tuple[int, ...] | None
    timing: Timing | None
    folder_fps: float
    size_px: int | tuple[int, int]  # side of a square; or height and width
    crop_position: float  # where the square is cut out, see `worldmodel.video.geometry.crop_square`
    backend: Backend
    signals: SignalRequest | None = None  # actions and states to read beside the frames
    packet_index: str | None = None
    place: Place | None = None  # where planes are written in the memory of a micro-batch; None: RGB frames are read
    crop: str | None = None  # what is read of each frame, see `CropRectangle`; None: all of it
    masks: MaskRequest | None = None  # masks to draw beside the frames

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the frames: [T, H, W, 3]."""
        height, width = (self.size_px, self.size_px) if isinstance(self.size_px, int) else self.size_px
        return len(self.times_s or self.indices or ()), height, width, 3

    @property
    def nbytes(self) -> int:
        """Bytes of the frames."""
        return math.prod(self.shape)


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


@dataclass(frozen=True)
class WindowRead:
    """A window that was read."""

    frames: np.ndarray  # uint8 [T, H, W, 3]; or with a layout, uint8 [bytes]
    signals: WindowSignals | None = None
    layout: FrameLayout | None = None  # of each frame, where planes were asked for
    through_container: bool = False  # although the request names a packet index
    masks: WindowMasks | None = None


def read_with_signals(request: ReadRequest, out: np.ndarray | None = None) -> WindowRead | ReadFailure:
    """Read the frames of a window, and its signals where they are asked for. Raises no `Exception`.

    out: memory for the frames, uint8 [bytes], of which the result is a view; None: it is allocated.

    A table of signals that cannot be used makes the clip a bad one, as a damaged video does. Errors of storage and machine
    are told apart as for videos.
    """
    signals, wanted = None, request.signals
    if wanted is not None:
        found = _try_to_read(lambda: read_window_signals(wanted), wanted.path)
        if isinstance(found, ReadFailure):
            return found
        signals = found
    before, layout = COUNTS.container, None
    if request.place is not None:
        memory = np.empty(request.place.nbytes, np.uint8) if out is None else out
        read = _try_to_read(lambda: _read_planes(request, memory), request.path)
        if isinstance(read, ReadFailure):
            return read
        layout, frames = read, memory[: read.nbytes * request.shape[0]]
    else:
        found_frames = read_window(request, out)
        if isinstance(found_frames, ReadFailure):
            return found_frames
        frames = found_frames
    masks = None if request.masks is None else draw_masks(request.masks)
    return WindowRead(frames, signals, layout, COUNTS.container > before, masks)


def frame_times_s(times_s: tuple[float, ...] | None, indices: tuple[int, ...] | None, fps: float) -> tuple[float, ...]:
    """Times at which the sampled frames begin, in seconds; exactly one of `times_s` and `indices` is given.

    The frame at a time is the one that is shown then, which began up to 1 / fps before.
    """
    if times_s is None:
        return tuple(index / fps for index in indices or ())
    return tuple(float(np.floor(time * fps + 1e-6)) / fps for time in times_s)


def read_window_signals(request: SignalRequest) -> WindowSignals:
    """Read the signals of a window. Raises SignalError, and OSError for errors of storage and machine."""
    # imported here: it takes half a second, which workers of a run without actions do not need
    from worldmodel.signals import SignalError, action_blocks, state_differences, states_at

    if request.path is None:
        raise SignalError("", "missing", "the clip has no signals in the manifest")
    signals, sizes = _kept_signals().read(request.path), request.sizes
    found = signals.actions.shape[1], signals.states.shape[1]
    if sizes.differences and found[1] != sizes.state:
        raise SignalError(request.path, "other size", f"states of {found[1]} numbers; this run has {sizes.state}")
    if sizes.differences and (1, found[1]) != (sizes.actions_per_step, sizes.action):
        own = f"{sizes.actions_per_step} x {sizes.action}"
        detail = f"state differences of {found[1]} numbers; the statistics of this run are of {own}"
        raise SignalError(request.path, "other size", detail)
    if not sizes.differences and found != (sizes.action, sizes.state):
        detail = f"actions of {found[0]} and states of {found[1]} numbers; this run has {sizes.action} and {sizes.state}"
        raise SignalError(request.path, "other size", detail)
    if sizes.differences:
        states = states_at(signals, request.times_s)
        actions = state_differences(states[:-1], states[1:], signals.state)[:, None]
    else:
        actions = action_blocks(signals, request.times_s, sizes.actions_per_step)
        states = states_at(signals, request.times_s)
    return WindowSignals(actions.astype(np.float32), states.astype(np.float32))


@cache
def _kept_signals() -> KeptSignals:
    """The tables of this process."""
    from worldmodel.signals.kept import KeptSignals

    return KeptSignals(_KEPT_SIGNALS_BYTES)


def read_window(request: ReadRequest, out: np.ndarray | None = None) -> np.ndarray | ReadFailure:
    """Read frames as uint8 [T, size_px, size_px, 3], or return why they cannot be read. Raises no `Exception`.

    out: memory for them, uint8 [bytes]; None: it is allocated.
    """
    memory = None if out is None else out.reshape(request.shape)
    return _try_to_read(lambda: _read_frames(request, memory), request.path)


def _read_frames(request: ReadRequest, out: np.ndarray | None) -> np.ndarray | ReadFailure:
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
        packet_index=request.packet_index,
        rectangle=None if request.crop is None else CropRectangle.parse(request.crop),
        out=out,
    )
    if (frames.shape, frames.dtype) == (request.shape, np.uint8):
        if out is not None and frames is not out:
            out[...] = frames
        return frames if out is None else out
    return ReadFailure("clip", f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 {list(request.shape)}")


def _read_planes(request: ReadRequest, out: np.ndarray) -> FrameLayout:
    return read_square_planes(
        request.path,
        request.size_px,
        out,
        times_s=request.times_s,
        indices=request.indices,
        position=request.crop_position,
        member=request.member,
        folder_fps=request.folder_fps,
        timing=request.timing,
        packet_index=request.packet_index,
        rectangle=None if request.crop is None else CropRectangle.parse(request.crop),
    )


def _try_to_read(read: Callable[[], _Found], path: str | None) -> _Found | ReadFailure:
    """Call `read`, again after errors that may pass soon. path: of the file that is read; None if there is none."""
    for attempt in range(_ATTEMPTS):
        try:
            return read()
        except Exception as error:  # decoders and damaged files raise almost anything
            failure, retry = _classify(error, path) if path else (ReadFailure("clip", _reason(error)), False)
        if not retry:
            break
        if attempt < _ATTEMPTS - 1:
            time.sleep(RETRY_S)
    return failure


def _classify(error: Exception, path: str) -> tuple[ReadFailure, bool]:
    """What an error means, and whether another attempt may succeed soon although the folder of the file answers."""
    reason = _reason(error)
    chain = list(causes(error))
    if any(isinstance(cause, OutputError) for cause in chain):  # the local cache of objects cannot be written
        return ReadFailure("machine", reason), False
    if (remote := next((cause for cause in chain if isinstance(cause, StorageError)), None)) is not None:
        if remote.unreachable:
            return ReadFailure("storage", str(remote.strerror), remote.store), False
        return ReadFailure("clip", str(remote.strerror)), False
    # FFmpeg uses the same error numbers for errors of the content; files themselves are opened and read by Python
    codes = {e.errno for e in chain if isinstance(e, OSError) and not type(e).__module__.startswith("av.")}
    if codes & MACHINE or any("can't start new thread" in str(cause) for cause in chain if isinstance(cause, RuntimeError)):
        return ReadFailure("machine", reason), False
    if codes & (STORAGE | {errno.EIO}) and (folder := _unresponsive_folder(path)):
        return ReadFailure("storage", reason, folder), False
    if codes & STORAGE:
        return ReadFailure("clip", reason), True
    if is_url(path):
        return ReadFailure("clip", reason), False
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
