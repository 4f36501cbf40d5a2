"""read_frames: exactly the frames asked for, by time or by number, from a file, a tar member or a folder of frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from worldmodel.video.backends import decord_backend, pyav_backend
from worldmodel.video.container.source import shown_name
from worldmodel.video.container.timing import Timing
from worldmodel.video.errors import reading_errors
from worldmodel.video.frame_folder import frames as frame_folder
from worldmodel.video.resize import Size

BACKENDS = {"pyav": pyav_backend.read, "decord": decord_backend.read}
Backend = Literal["pyav", "decord"]


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
    """Frames as shown, uint8 [T, H, W, 3], in the order asked for; any order, repeats allowed.

    As shown: mirrored and turned as the file says, and stretched in width where its pixels are not square.

    Exactly one of
      times_s: seconds since the first frame; the frame shown at that time is the last one presented by then (half a
        tick of the file's clock granted, but no more than a tenth of a frame): right at variable frame rates, too;
      indices: frame numbers in the order shown. Costs a scan of the packets before them; times do not.
    size: None (as shown), an int (short side in px, aspect kept), or (height, width).
    member: name of the video within the tar `path`. folder_fps: the rate of a folder of frames, which has none.
    timing: what `probe` (or the manifest) says of the file; None = examined at the first call of the process for this file.
    Raises VideoError, in particular for times and numbers past the end, and ValueError for a call that makes no sense.
    """
    if (times_s is None) == (indices is None):
        raise ValueError("read_frames: give exactly one of times_s and indices")
    if backend not in BACKENDS:
        raise ValueError(f"read_frames: backend {backend!r} is none of {', '.join(BACKENDS)}")
    times = None if times_s is None else np.asarray(times_s, np.float64).tolist()
    numbers = None if indices is None else np.asarray(indices, np.int64).tolist()
    if not (times or numbers):
        raise ValueError("read_frames: asked for no frame at all")
    if size is not None and np.min(size) < 1:
        raise ValueError(f"size={size!r}: expected a short side in px, or (height, width), of at least 1")
    with reading_errors(shown_name(path, member)):
        if member is None and os.path.isdir(path):
            return frame_folder.read(path, times, numbers, size, folder_fps)
        return BACKENDS[backend](path, member, times, numbers, size, timing)
