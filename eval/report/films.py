"""Films as they stand in a page: H.264, small enough to be carried in it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.trials import Film
from worldmodel.video import probe, read_frames, write_video

MOST_PX = 256  # of the shorter side
MOST_FPS = 30.0


def mp4_bytes(frames: NDArray[np.uint8], fps: float) -> bytes:
    """uint8 [T, H, W, 3] -> an .mp4 that browsers play: H.264, yuv420p, odd sizes padded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_video(path, frames, fps)
        return path.read_bytes()


def page_rate(film: Film) -> float:
    """Frames a second a film is shown at: its own, up to MOST_FPS."""
    return min(film.fps, MOST_FPS)


def film_bytes(film: Film) -> bytes:
    """A film of a trial, at its own size up to MOST_PX, its shape kept. Raises VideoError and OSError where it is gone."""
    info, rate = probe(film.path, folder_fps=film.fps), page_rate(film)
    count = max(1, round(film.frames / film.fps * rate))
    last_s = (film.frames - 1) / film.fps
    times = [film.start_frame / film.fps + min(index / rate, last_s) for index in range(count)]
    size = MOST_PX if min(info.height, info.width) > MOST_PX else None
    return mp4_bytes(read_frames(film.path, times_s=times, size=size, folder_fps=film.fps), rate)
