"""Contact sheets: films as rows of pictures, so that a person sees at a glance what happens in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

MARGIN_PX = 118
LINE_PX = 3


@dataclass(frozen=True)
class Row:
    """A film and the words beside it; `marks` are frames framed in red (where the impossible happens)."""

    frames: NDArray[np.uint8]  # [T, H, W, 3]
    words: str
    marks: tuple[int, ...] = ()


def sheet(rows: list[Row], *, every: int = 2, scale: int = 1) -> Image.Image:
    """One picture: a row a film, every so-manieth frame, enlarged `scale` times without smoothing."""
    height, width = (side * scale for side in rows[0].frames.shape[1:3])
    shown = max(len(range(0, len(row.frames), every)) for row in rows)
    picture = Image.new("RGB", (MARGIN_PX + shown * (width + LINE_PX), len(rows) * (height + LINE_PX)), "white")
    pen = ImageDraw.Draw(picture)
    for number, row in enumerate(rows):
        top = number * (height + LINE_PX)
        pen.multiline_text((4, top + height // 2 - 18), row.words, fill="black", spacing=2)
        for place, frame in enumerate(range(0, len(row.frames), every)):
            left = MARGIN_PX + place * (width + LINE_PX)
            image = Image.fromarray(row.frames[frame]).resize((width, height), Image.Resampling.NEAREST)
            picture.paste(image, (left, top))
            if any(frame <= mark < frame + every for mark in row.marks):
                pen.rectangle((left - 1, top - 1, left + width, top + height), outline="red", width=2)
    return picture
