"""Films laid out for people: a strip of moments for a paper, panels side by side for the eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from worldmodel.render.ink import (
    FAINT,
    IMAGINED,
    INK,
    MUTED,
    PAPER,
    fitted,
    legible_px,
    text_width_px,
    write,
)

CELL_PX = 160  # least height of a frame in a strip
PANEL_PX = 256  # least height of a panel in a film
BLANK = 244  # grey of a panel that shows nothing yet

Films = Mapping[str, np.ndarray]


def strip(rows: Films, times_s: Sequence[float], context_frames: int, columns: int = 10) -> np.ndarray:
    """Films as rows, moments as columns, what was seen set apart from what was imagined: uint8 [H, W, 3].

    Rows are uint8 [T, H, W, 3], or [T - context_frames, H, W, 3] where there is something to show only after the
    context. Of T moments at most `columns` are shown: the first, the last, both sides of the border, and some between.
    """
    check(rows, len(times_s), context_frames)
    seen, imagined = moments(len(times_s), context_frames, columns)
    height = legible_px(max(film.shape[1] for film in rows.values()), CELL_PX)
    width = max(round(height * film.shape[2] / film.shape[1]) for film in rows.values())
    letters = max(12, height // 8)
    gap, border = max(2, height // 40), height // 6
    left = max(text_width_px(label, letters) for label in rows) + letters
    top, bottom = round(letters * 2.2), round(letters * 1.9)

    starts = [left + i * (width + gap) + (border if i >= len(seen) else 0) for i in range(len(seen) + len(imagined))]
    page = Image.new("RGB", (starts[-1] + width + gap, top + len(rows) * (height + gap) + bottom), PAPER)
    draw = ImageDraw.Draw(page)
    for title, colour, columns_x in (("context", MUTED, starts[: len(seen)]), ("imagined", IMAGINED, starts[len(seen) :])):
        write(draw, ((columns_x[0] + columns_x[-1] + width) / 2, letters * 0.9), title, letters, colour, "mm")
        line_y = round(letters * 1.8)
        draw.line((columns_x[0], line_y, columns_x[-1] + width - 1, line_y), fill=colour, width=max(2, letters // 9))
    for r, (label, film) in enumerate(rows.items()):
        y = top + r * (height + gap)
        write(draw, (left - letters * 0.6, y + height / 2), label, letters, INK, "rm")
        skipped = len(times_s) - len(film)  # 0, or the context
        for x, moment in zip(starts, seen + imagined, strict=True):
            if moment >= skipped:
                picture = fitted(film[moment - skipped], height)
                page.paste(picture, (x + (width - picture.width) // 2, y))
    for x, moment in zip(starts, seen + imagined, strict=True):
        write(draw, (x + width / 2, page.height - bottom * 0.55), seconds(times_s[moment]), round(letters * 0.8), MUTED, "mm")
    return np.asarray(page)


def moments(count: int, context_frames: int, columns: int) -> tuple[list[int], list[int]]:
    """Which moments a strip shows: of the context, and of what came after."""
    columns = max(2, min(columns, count))
    of_context = min(columns - 1, context_frames, max(1, round(columns * context_frames / count)))
    of_context = max(of_context, columns - (count - context_frames))
    of_imagined = columns - of_context
    seen = np.linspace(0 if of_context > 1 else context_frames - 1, context_frames - 1, of_context)
    imagined = np.linspace(context_frames if of_imagined > 1 else count - 1, count - 1, of_imagined)
    return [round(x) for x in seen], [round(x) for x in imagined]


def side_by_side(panels: Films, times_s: Sequence[float], context_frames: int) -> np.ndarray:
    """Films as panels with captions, above a line that says what is seen and what imagined: uint8 [T, H, W, 3].

    Panels as the rows of `strip`; those that begin after the context are blank until then. H and W are even.
    """
    count = len(times_s)
    check(panels, count, context_frames)
    height = legible_px(max(film.shape[1] for film in panels.values()), PANEL_PX)
    letters = max(16, height // 14)
    margin = letters
    widths = [round(height * film.shape[2] / film.shape[1]) for film in panels.values()]
    widths = [max(w, text_width_px(label, letters)) for w, label in zip(widths, panels, strict=True)]
    starts = [margin + sum(widths[:i]) + i * margin for i in range(len(widths))]
    top = round(letters * 2.2)
    page_width = starts[-1] + widths[-1] + margin
    page = Image.new("RGB", (page_width + page_width % 2, (top + height + letters * 3) // 2 * 2), PAPER)
    draw = ImageDraw.Draw(page)
    for x, width, label in zip(starts, widths, panels, strict=True):
        write(draw, (x + width / 2, top - letters), label, letters, INK, "mm")

    frames = np.empty((count, page.height, page.width, 3), np.uint8)
    for moment in range(count):
        frame = page.copy()
        for x, width, film in zip(starts, widths, panels.values(), strict=True):
            skipped = count - len(film)
            if moment >= skipped:
                picture = fitted(film[moment - skipped], height)
                frame.paste(picture, (x + (width - picture.width) // 2, top))
            else:
                frame.paste((BLANK,) * 3, (x, top, x + width, top + height))
        timeline(frame, top + height + round(letters * 1.5), margin, times_s, context_frames, moment, letters)
        frames[moment] = np.asarray(frame)
    return frames


def timeline(
    frame: Image.Image, y: int, margin: int, times_s: Sequence[float], context_frames: int, moment: int, letters: int
) -> None:
    """Draw the clock at height y: words, and a line filled up to the moment, grey while seen and blue while imagined."""
    draw = ImageDraw.Draw(frame)
    imagining = moment >= context_frames
    words = f"{'imagined' if imagining else 'context'}  {seconds(times_s[moment])}"
    write(draw, (margin, y), words, letters, IMAGINED if imagining else MUTED, "lm")
    left = margin + max(text_width_px(f"imagined  {seconds(t)}", letters) for t in times_s) + letters
    right, thickness = frame.width - margin, max(4, letters // 3)

    def at(boundary: int) -> int:
        return round(left + (right - left) * boundary / len(times_s))

    def bar(start: int, stop: int, colour: tuple[int, int, int]) -> None:
        if stop > start:
            draw.rectangle((at(start), y - thickness // 2, at(stop) - 1, y + thickness // 2), fill=colour)

    bar(0, len(times_s), FAINT)
    bar(0, min(moment + 1, context_frames), MUTED)
    bar(context_frames, moment + 1, IMAGINED)
    draw.line((at(context_frames), y - thickness, at(context_frames), y + thickness), fill=INK, width=2)


def check(films: Films, count: int, context_frames: int) -> None:
    """Raise ValueError where the films do not fit the times."""
    if not films:
        raise ValueError("no films to draw")
    if not 0 < context_frames < count:
        raise ValueError(f"{context_frames} of {count} frames as context leave nothing seen or nothing imagined")
    for label, film in films.items():
        if film.ndim != 4 or film.shape[3] != 3 or film.dtype != np.uint8:
            raise ValueError(f"{label}: expected uint8 [T, H, W, 3], got {film.dtype} {list(film.shape)}")
        if len(film) not in (count, count - context_frames):
            raise ValueError(
                f"{label} has {len(film)} frames; {count} times want {count}, or {count - context_frames} after the context"
            )


def seconds(time_s: float) -> str:
    return f"{time_s:.2f} s" if round(time_s * 100) % 10 else f"{time_s:.1f} s"
