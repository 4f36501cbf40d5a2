"""Films as they stand in a page: H.264, small enough to be carried in it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from eval.voe.trials import Film
from worldmodel.video import probe, read_frames, write_video
from worldmodel.video.resize import Film as ResizedFilm
from worldmodel.video.resize import Size
from worldmodel.video.square import Square, cut_square

MOST_PX = 256  # of the shorter side
LEAST_PX = 64  # of it, where a film is made smaller to fit a page
MOST_FPS = 30.0
MOST_BYTES = 12_000_000  # of films in a page; in base64 a third more


def mp4_bytes(frames: NDArray[np.uint8], fps: float) -> bytes:
    """uint8 [T, H, W, 3] -> an .mp4 that browsers play: H.264, yuv420p, odd sizes padded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_video(path, frames, fps)
        return path.read_bytes()


def fitted_bytes(frames: NDArray[np.uint8], fps: float, most_bytes: float) -> bytes:
    """The same, made smaller until it fits; but never below LEAST_PX."""
    found = mp4_bytes(frames, fps)
    side = min(frames.shape[1:3])
    while len(found) > most_bytes and side > LEAST_PX:
        side = max(LEAST_PX, side * 3 // 4)
        found = mp4_bytes(resized(frames, side), fps)
    return found


def resized(frames: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """uint8 [T, H, W, 3] -> [T, h, w, 3], as films are when they are read at a size."""
    film = ResizedFilm(len(frames), size)
    for place, frame in enumerate(frames):
        film.put([place], VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
    return film.frames


def page_rate(film: Film) -> float:
    """Frames a second a film is shown at: its own, up to MOST_FPS."""
    return min(film.fps, MOST_FPS)


def film_bytes(film: Film, square: Square = "squeeze") -> bytes:
    """A film of a trial, at its own size up to MOST_PX: its whole picture, or where the model saw the central square, that.

    Raises VideoError and OSError where it is gone."""
    info, rate = probe(film.path, folder_fps=film.fps), page_rate(film)
    count = max(1, round(film.frames / film.fps * rate))
    last_s = (film.frames - 1) / film.fps
    times = [film.start_frame / film.fps + min(index / rate, last_s) for index in range(count)]
    size = MOST_PX if min(info.height, info.width) > MOST_PX else None
    frames = read_frames(film.path, times_s=times, size=size, folder_fps=film.fps)
    return mp4_bytes(cut_square(frames) if square == "crop" else frames, rate)
