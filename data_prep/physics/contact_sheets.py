"""Contact sheets: one image that shows the frames of videos in rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

MARGIN_PX = 118
LINE_PX = 3


@dataclass(frozen=True)
class SheetRow:
    """A video and the text beside it."""

    frames: NDArray[np.uint8]  # [T, H, W, 3]
    text: str
    marks: tuple[int, ...] = ()  # frames with a red border, such as the one that reveals a violation


def contact_sheet(rows: list[SheetRow], *, every: int = 2, scale: int = 1) -> Image.Image:
    """An image with a row per video and every N-th frame, enlarged without smoothing."""
    height, width = (side * scale for side in rows[0].frames.shape[1:3])
    shown = max(len(range(0, len(row.frames), every)) for row in rows)
    picture = Image.new("RGB", (MARGIN_PX + shown * (width + LINE_PX), len(rows) * (height + LINE_PX)), "white")
    pen = ImageDraw.Draw(picture)
    for number, row in enumerate(rows):
        top = number * (height + LINE_PX)
        pen.multiline_text((4, top + height // 2 - 18), row.text, fill="black", spacing=2)
        for column, frame in enumerate(range(0, len(row.frames), every)):
            left = MARGIN_PX + column * (width + LINE_PX)
            image = Image.fromarray(row.frames[frame]).resize((width, height), Image.Resampling.NEAREST)
            picture.paste(image, (left, top))
            if any(frame <= mark < frame + every for mark in row.marks):
                pen.rectangle((left - 1, top - 1, left + width, top + height), outline="red", width=2)
    return picture
