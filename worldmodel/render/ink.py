"""Colours, letters and the saving of pictures: what all drawings share."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import IO

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageDraw, ImageFont

from worldmodel.files.atomic import replacing_file

Rgb = tuple[int, int, int]

# Told apart by colour-blind readers (Okabe & Ito 2008), and each used for one thing throughout
PAPER: Rgb = (255, 255, 255)
INK: Rgb = (34, 34, 34)
MUTED: Rgb = (118, 118, 118)
FAINT: Rgb = (222, 222, 222)
IMAGINED: Rgb = (0, 114, 178)  # what the model made up
COPY: Rgb = (230, 159, 0)
MEAN: Rgb = (118, 118, 118)
GOOD: Rgb = (0, 158, 115)
BAD: Rgb = (213, 94, 0)


def hexadecimal(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


@lru_cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as it comes with matplotlib: the same letters on every machine."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size_px)


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size_px: int, colour: Rgb, anchor: str) -> None:
    draw.text(at, text, fill=colour, font=font(size_px), anchor=anchor)


def text_width_px(text: str, size_px: int) -> int:
    return round(font(size_px).getlength(text))


def fitted(frame: np.ndarray, height_px: int) -> Image.Image:
    """uint8 [H, W, 3] at another height. Enlarged pixels stay squares: a film of 64 px should look like one."""
    height, width = frame.shape[:2]
    size = (max(1, round(width * height_px / height)), height_px)
    picture = Image.fromarray(np.ascontiguousarray(frame))
    return picture.resize(size, Image.Resampling.NEAREST if height_px >= height else Image.Resampling.LANCZOS)


def legible_px(height_px: int, least_px: int) -> int:
    """The smallest whole multiple of a frame's height that is at least so large."""
    return height_px * max(1, -(-least_px // height_px))


def save_png(picture: np.ndarray, path: Path | str) -> None:
    """uint8 [H, W, 3] -> a PNG file that is whole or not there."""
    image = Image.fromarray(picture)
    atomically(Path(path), lambda file: image.save(file, format="PNG", optimize=True))


def show_dollars(figure: Figure) -> None:
    """Show a `$` in titles, legends and captions as it is: names of files may hold it; matplotlib reads mathematics."""
    of_axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    numbers = {id(text) for axis in of_axes for text in (*axis.get_ticklabels(which="both"), axis.get_offset_text())}
    for text in figure.findobj(Text):
        if id(text) not in numbers:
            text.set_parse_math(False)


def save_figure(figure: Figure, path: Path | str, dpi: int = 200) -> None:
    """By the path's ending: .png, or .pdf and .svg for papers; whole or not there."""
    path = Path(path)
    kind = path.suffix[1:].lower()
    if kind not in ("png", "pdf", "svg"):
        raise ValueError(f"{path}: figures are saved as .png, .pdf or .svg")
    show_dollars(figure)
    atomically(path, lambda file: figure.savefig(file, format=kind, dpi=dpi, facecolor="white"))


def atomically(path: Path, save: Callable[[IO[bytes]], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path) as file:
        save(file)
