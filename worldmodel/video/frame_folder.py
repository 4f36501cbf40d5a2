"""A folder of PNG or JPEG frames is a video too: frames in natural order of their names, at a rate that is told."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from av import VideoFrame
from PIL import Image, ImageOps, UnidentifiedImageError

from worldmodel.video.errors import VideoError
from worldmodel.video.resize import Film, Size
from worldmodel.video.timeline import check_numbers

SUFFIXES = (".png", ".jpg", ".jpeg")


def frame_names(folder: Path | str) -> list[str]:
    """Names of the frames, 2 before 10. Raises VideoError when there is none."""
    names = [e.name for e in os.scandir(folder) if e.name.lower().endswith(SUFFIXES) and not e.name.startswith(".")]
    if not names:
        raise VideoError(str(folder), "zero frames", "a folder without .png or .jpg frames is no video")
    return sorted(names, key=_natural)


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts], name


def read(
    folder: Path | str,
    times_s: Sequence[float] | None,
    indices: Sequence[int] | None,
    size: Size,
    fps: float,
) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] at the times (frame k is shown from k/fps on), or else with the numbers, given."""
    names = frame_names(folder)
    if times_s is not None:
        indices = [math.floor(time * fps + 1e-3) for time in times_s]  # grants a thousandth of a frame of rounding
    places = list(indices or ())
    check_numbers(str(folder), places, len(names))
    film = Film(len(places), size)
    for place in sorted(set(places), key=places.index):
        image = open_frame(Path(folder) / names[place])
        slots = [slot for slot, other in enumerate(places) if other == place]
        film.put(slots, VideoFrame.from_ndarray(image, format="rgb24"), turn_deg=0)
    return film.frames


def open_frame(path: Path) -> np.ndarray:
    """One image as shown, uint8 [H, W, 3]. Raises VideoError."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(str(path), "corrupt", f"this frame cannot be read ({error})") from None
