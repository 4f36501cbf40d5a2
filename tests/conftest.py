"""Small videos for the tests, made with PyAV; frames carry their number in black and white, so that they can be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

BITS = 8


def _numbered(count: int, height: int = 48, width: int = 64, first: int = 0) -> np.ndarray:
    """uint8 [count, height, width, 3]: the top half holds the number, bit by bit; the bottom half a drifting ramp."""
    y, x = np.mgrid[:height, :width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for place, frame in enumerate(frames):
        number = first + place
        bits = (number >> (x * BITS // width)) & 1
        ramp = (4 * x + 3 * y + 5 * number) % 256
        frame[:] = np.where(y < height // 2, 40 + 180 * bits, ramp)[..., None]
        frame[..., 2] = frame[..., 2] // 2
    return frames


def _number_of(frame: np.ndarray) -> int:
    """The number that a frame carries, also after lossy coding or resizing."""
    height, width = frame.shape[:2]
    row = frame[height // 4, :, 0].astype(int)
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(int(row[centre] > 130) << bit for bit, centre in enumerate(centres))


def _make_video(
    path: Path,
    frames: np.ndarray,
    fps: float = 10.0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    clock_hz: int | None = None,
    rotation: int = 0,
    **options: Any,
) -> Path:
    """Write frames [T, H, W, 3]; `ticks` in 1/clock_hz s make the rate variable. Options are the encoder's (g, bf)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        named = {name: str(value) for name, value in options.items()}
        stream = out.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=named)
        stream.pix_fmt, (stream.height, stream.width) = pix_fmt, frames.shape[1:3]
        clock = Fraction(1, clock_hz) if clock_hz else 1 / Fraction(fps).limit_denominator(1001)
        stream.codec_context.time_base = clock
        if rotation:
            stream.set_display_rotation(rotation)
        for place, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = (ticks[place] if ticks is not None else place), clock
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.fixture
def numbered() -> Callable[..., np.ndarray]:
    return _numbered


@pytest.fixture
def number_of() -> Callable[[np.ndarray], int]:
    return _number_of


@pytest.fixture
def make_video() -> Callable[..., Path]:
    return _make_video


@pytest.fixture
def video_folder(tmp_path: Path) -> Callable[[int], Path]:
    """folder(count): a new folder with so many different videos of 12 frames, 1.2 s, named 000.mp4, 001.mp4, ..."""

    def folder(count: int) -> Path:
        for place in range(count):
            _make_video(tmp_path / "videos" / f"{place:03d}.mp4", _numbered(12, first=place), g=6)
        return tmp_path / "videos"

    return folder
