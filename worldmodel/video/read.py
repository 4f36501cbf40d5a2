"""Read exactly the requested frames, by time or by number, from a file, a tar member or a folder of frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from worldmodel.video.backends import BACKENDS, Backend
from worldmodel.video.backends.pyav_backend import read_into
from worldmodel.video.container.source import shown_name
from worldmodel.video.container.timing import Timing
from worldmodel.video.errors import reading_errors
from worldmodel.video.frame_folder.frames import FOLDER_FPS, read_folder
from worldmodel.video.packet_index.reading import read_by_index
from worldmodel.video.planes import FormatChangedError, FrameLayout, PlaneBuffer
from worldmodel.video.resize import Buffer, Cover, FrameBuffer, Inside, Size
from worldmodel.video.selection import Selection

_BufferT = TypeVar("_BufferT", bound=Buffer)


def read_frames(
    path: Path | str,
    *,
    times_s: Sequence[float] | np.ndarray | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
    size: Size = None,
    member: str | None = None,
    backend: Backend = "pyav",
    folder_fps: float = FOLDER_FPS,
    timing: Timing | None = None,
    packet_index: str | None = None,
) -> np.ndarray:
    """Read frames as shown, uint8 [T, H, W, 3], in the requested order. Any order and repeated frames are allowed.

    Frames are mirrored and turned as the file states, and stretched in width if the file's pixels are not square.

    Exactly one of
      times_s: seconds since the first frame. The frame shown at a time is the last one presented by then, also at variable
        frame rates. A tolerance of half a tick of the file's clock, at most a tenth of a frame, absorbs rounding.
      indices: frame numbers in the order shown. They need a scan of the packets before them; times do not.
    size: None (as shown), an int (short side in px, aspect kept), (height, width), or a Cover; or one of these of a
      rectangle of the frame: an Inside.
    member: name of the video within the tar file `path`.
    folder_fps: frame rate of a folder of frames, which has none of its own.
    timing: as `inspect_video` or the manifest states it. None: analysed once per process and file.
    packet_index: path of an index made by `python -m data_prep packets`, which saves opening the file; the frames are the same.
    Raises VideoError, in particular for times and numbers past the end, and ValueError for inconsistent arguments.
    """
    selection = _selection(times_s, indices, size)
    if backend not in BACKENDS:
        raise ValueError(f"read_frames: backend {backend!r} is none of {', '.join(BACKENDS)}")
    with reading_errors(shown_name(path, member)):
        if member is None and os.path.isdir(path):
            return read_folder(path, selection, size, folder_fps)
        if packet_index is not None and backend == "pyav":
            found = read_by_index(packet_index, path, member, selection, lambda: FrameBuffer(len(selection), size))
            if found is not None:
                return found.frames
        return BACKENDS[backend](path, member, selection, size, timing)


def read_planes(
    path: Path | str,
    out: np.ndarray,
    *,
    times_s: Sequence[float] | np.ndarray | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
    size: Size = None,
    member: str | None = None,
    folder_fps: float = FOLDER_FPS,
    timing: Timing | None = None,
    packet_index: str | None = None,
) -> FrameLayout | np.ndarray:
    """Read frames as planes Y, U and V at the size of the file into `out`, uint8 [bytes], one frame after another.

    Returns the layout of a frame. Where frames cannot be given as planes (turned or stretched, not 8 bits 4:2:0, or more bytes
    than `out` has), nothing is written, and RGB frames are returned as by `read_frames`. Other arguments are as there.
    """
    selection = _selection(times_s, indices, size)
    with reading_errors(shown_name(path, member)):
        if member is None and os.path.isdir(path):
            return read_folder(path, selection, size, folder_fps)
        how = path, member, selection, timing, packet_index
        try:
            planes = _read_video(lambda: PlaneBuffer(len(selection), size, out), *how)
        except FormatChangedError:
            return _read_video(lambda: FrameBuffer(len(selection), size), *how).frames
        return planes.layout or planes.rgb.frames


def fill_buffer(
    buffer_of: Callable[[], Buffer],
    path: Path | str,
    *,
    times_s: Sequence[float] | np.ndarray | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
    member: str | None = None,
    timing: Timing | None = None,
    packet_index: str | None = None,
) -> None:
    """Put the requested frames of a video file into a buffer of the caller, with the backend pyav.

    buffer_of: makes the buffer; it is called again where frames must be read in another way, and then all are written again.
    Other arguments are those of `read_frames`.
    """
    selection = _selection(times_s, indices, None)
    with reading_errors(shown_name(path, member)):
        _read_video(buffer_of, path, member, selection, timing, packet_index)


def _read_video(
    new_buffer: Callable[[], _BufferT],
    path: Path | str,
    member: str | None,
    selection: Selection,
    timing: Timing | None,
    packet_index: str | None,
) -> _BufferT:
    found = None
    if packet_index is not None:
        found = read_by_index(packet_index, path, member, selection, new_buffer)
    return read_into(new_buffer, path, member, selection, timing) if found is None else found


def _selection(
    times_s: Sequence[float] | np.ndarray | None, indices: Sequence[int] | np.ndarray | None, size: Size
) -> Selection:
    """The requested frames. Raises ValueError for inconsistent arguments."""
    if (times_s is None) == (indices is None):
        raise ValueError("read_frames: give exactly one of times_s and indices")
    times = None if times_s is None else np.asarray(times_s, np.float64).tolist()
    numbers = None if indices is None else np.asarray(indices, np.int64).tolist()
    if not (times or numbers):
        raise ValueError("read_frames: no frame was requested; give at least one time or index")
    whole = size.size if isinstance(size, Inside) else size
    if whole is not None and np.min((whole.height, whole.width) if isinstance(whole, Cover) else whole) < 1:
        raise ValueError(f"size={size!r}: expected a short side in px, or (height, width), of at least 1")
    return Selection(times, numbers)
