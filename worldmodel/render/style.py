"""Colours, fonts and file writing that all figures share."""

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

from worldmodel.files.atomic import atomic_file

Rgb = tuple[int, int, int]

# Distinguishable for colour-blind readers (Okabe & Ito 2008). Each colour has one meaning in all figures.
BACKGROUND: Rgb = (255, 255, 255)
DARK: Rgb = (34, 34, 34)
MUTED: Rgb = (118, 118, 118)
FAINT: Rgb = (222, 222, 222)
PREDICTION: Rgb = (0, 114, 178)  # predictions of the model
COPY: Rgb = (230, 159, 0)
MEAN: Rgb = (118, 118, 118)
GOOD: Rgb = (0, 158, 115)
BAD: Rgb = (213, 94, 0)


def hex_colour(colour: Rgb) -> str:
    """A colour as matplotlib and HTML write it, such as "#0072b2"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


@lru_cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans from matplotlib's data, so that text is equal on every machine."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size_px)


def draw_text(
    draw: ImageDraw.ImageDraw, position: tuple[float, float], text: str, size_px: int, colour: Rgb, anchor: str
) -> None:
    """Draw text at a position (x, y). `anchor`: which point of the text lies there, in Pillow's notation."""
    draw.text(position, text, fill=colour, font=font(size_px), anchor=anchor)


def text_width_px(text: str, size_px: int) -> int:
    """Width of a text when drawn."""
    return round(font(size_px).getlength(text))


def resize_to_height(frame: np.ndarray, height_px: int) -> Image.Image:
    """Resize uint8 [H, W, 3] to another height, aspect kept. Enlarged pixels stay sharp squares."""
    height, width = frame.shape[:2]
    size = (max(1, round(width * height_px / height)), height_px)
    picture = Image.fromarray(np.ascontiguousarray(frame))
    return picture.resize(size, Image.Resampling.NEAREST if height_px >= height else Image.Resampling.LANCZOS)


def enlarged_height_px(height_px: int, least_px: int) -> int:
    """The smallest integer multiple of a frame's height that is at least `least_px`."""
    return height_px * max(1, -(-least_px // height_px))


def save_png(picture: np.ndarray, path: Path | str) -> None:
    """Write uint8 [H, W, 3] as a PNG file, atomically."""
    image = Image.fromarray(picture)
    save_atomically(Path(path), lambda file: image.save(file, format="PNG", optimize=True))


def disable_mathtext(figure: Figure) -> None:
    """Show a `$` in titles, legends and captions as it is.

    They may contain file names, which matplotlib would parse as formulas. Tick labels keep their formulas.
    """
    of_axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    tick_labels = {id(text) for axis in of_axes for text in (*axis.get_ticklabels(which="both"), axis.get_offset_text())}
    for text in figure.findobj(Text):
        if id(text) not in tick_labels:
            text.set_parse_math(False)


def save_figure(figure: Figure, path: Path | str, dpi: int = 200) -> None:
    """Write a figure atomically, in the format of the suffix: .png, or .pdf and .svg for papers."""
    path = Path(path)
    kind = path.suffix[1:].lower()
    if kind not in ("png", "pdf", "svg"):
        raise ValueError(f"{path}: figures are saved as .png, .pdf or .svg")
    disable_mathtext(figure)
    save_atomically(path, lambda file: figure.savefig(file, format=kind, dpi=dpi, facecolor="white"))


def save_atomically(path: Path, save: Callable[[IO[bytes]], object]) -> None:
    """Write a file by `save(file)`, atomically. Missing parent folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        save(file)
