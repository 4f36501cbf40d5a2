"""Read exactly the requested frames, by time or by number, from a file, a tar member or a folder of frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from worldmodel.video.backends import BACKENDS, Backend
from worldmodel.video.container.source import shown_name
from worldmodel.video.container.timing import Timing
from worldmodel.video.errors import reading_errors
from worldmodel.video.frame_folder.frames import read_folder
from worldmodel.video.resize import Cover, Size
from worldmodel.video.selection import Selection


def read_frames(
    path: Path | str,
    *,
    times_s: Sequence[float] | np.ndarray | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
    size: Size = None,
    member: str | None = None,
    backend: Backend = "pyav",
    folder_fps: float = 10.0,
    timing: Timing | None = None,
) -> np.ndarray:
    """Read frames as shown, uint8 [T, H, W, 3], in the requested order. Any order and repeated frames are allowed.

    Frames are mirrored and turned as the file states, and stretched in width if the file's pixels are not square.

    Exactly one of
      times_s: seconds since the first frame. The frame shown at a time is the last one presented by then, also at variable
        frame rates. A tolerance of half a tick of the file's clock, at most a tenth of a frame, absorbs rounding.
      indices: frame numbers in the order shown. They need a scan of the packets before them; times do not.
    size: None (as shown), an int (short side in px, aspect kept), (height, width), or a Cover.
    member: name of the video within the tar file `path`.
    folder_fps: frame rate of a folder of frames, which has none of its own.
    timing: as `inspect_video` or the manifest states it. None: analysed once per process and file.
    Raises VideoError, in particular for times and numbers past the end, and ValueError for inconsistent arguments.
    """
    if (times_s is None) == (indices is None):
        raise ValueError("read_frames: give exactly one of times_s and indices")
    if backend not in BACKENDS:
        raise ValueError(f"read_frames: backend {backend!r} is none of {', '.join(BACKENDS)}")
    times = None if times_s is None else np.asarray(times_s, np.float64).tolist()
    numbers = None if indices is None else np.asarray(indices, np.int64).tolist()
    if not (times or numbers):
        raise ValueError("read_frames: no frame was requested; give at least one time or index")
    if size is not None and np.min((size.height, size.width) if isinstance(size, Cover) else size) < 1:
        raise ValueError(f"size={size!r}: expected a short side in px, or (height, width), of at least 1")
    selection = Selection(times, numbers)
    with reading_errors(shown_name(path, member)):
        if member is None and os.path.isdir(path):
            return read_folder(path, selection, size, folder_fps)
        return BACKENDS[backend](path, member, selection, size, timing)
