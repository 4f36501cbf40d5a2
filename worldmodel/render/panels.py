"""Lay out videos for people: a strip of frames for a paper, panels side by side for a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from worldmodel.render.style import (
    BACKGROUND,
    DARK,
    FAINT,
    MUTED,
    PREDICTION,
    draw_text,
    enlarged_height_px,
    resize_to_height,
    text_width_px,
)

CELL_PX = 160  # least height of a frame in a strip
PANEL_PX = 256  # least height of a panel in a video
BLANK = 244  # grey of a panel before its first frame

Videos = Mapping[str, np.ndarray]  # label -> uint8 [T, H, W, 3]


def strip(rows: Videos, times_s: Sequence[float], context_frames: int, columns: int = 10) -> np.ndarray:
    """Draw videos as rows and time as columns, with the context separated from the prediction: uint8 [H, W, 3].

    Rows are uint8 [T, H, W, 3], or [T - context_frames, H, W, 3] if there is something to show only after the context. Of the
    T frames at most `columns` are shown: the first, the last, both sides of the end of the context, and some between.
    """
    check_videos(rows, len(times_s), context_frames)
    context, predicted = strip_frames(len(times_s), context_frames, columns)
    height = enlarged_height_px(max(video.shape[1] for video in rows.values()), CELL_PX)
    width = max(round(height * video.shape[2] / video.shape[1]) for video in rows.values())
    text_px = max(12, height // 8)
    gap, border = max(2, height // 40), height // 6
    left = max(text_width_px(label, text_px) for label in rows) + text_px
    top, bottom = round(text_px * 2.2), round(text_px * 1.9)

    starts = [left + i * (width + gap) + (border if i >= len(context) else 0) for i in range(len(context) + len(predicted))]
    page = Image.new("RGB", (starts[-1] + width + gap, top + len(rows) * (height + gap) + bottom), BACKGROUND)
    draw = ImageDraw.Draw(page)
    groups = (("context", MUTED, starts[: len(context)]), ("prediction", PREDICTION, starts[len(context) :]))
    for title, colour, columns_x in groups:
        draw_text(draw, ((columns_x[0] + columns_x[-1] + width) / 2, text_px * 0.9), title, text_px, colour, "mm")
        line_y = round(text_px * 1.8)
        draw.line((columns_x[0], line_y, columns_x[-1] + width - 1, line_y), fill=colour, width=max(2, text_px // 9))
    for r, (label, video) in enumerate(rows.items()):
        y = top + r * (height + gap)
        draw_text(draw, (left - text_px * 0.6, y + height / 2), label, text_px, DARK, "rm")
        skipped = len(times_s) - len(video)  # 0, or the context
        for x, frame in zip(starts, context + predicted, strict=True):
            if frame >= skipped:
                picture = resize_to_height(video[frame - skipped], height)
                page.paste(picture, (x + (width - picture.width) // 2, y))
    for x, frame in zip(starts, context + predicted, strict=True):
        time = seconds(times_s[frame])
        draw_text(draw, (x + width / 2, page.height - bottom * 0.55), time, round(text_px * 0.8), MUTED, "mm")
    return np.asarray(page)


def strip_frames(count: int, context_frames: int, columns: int) -> tuple[list[int], list[int]]:
    """Return the indices of the frames that a strip shows: those of the context, and those after it."""
    columns = max(2, min(columns, count))
    of_context = min(columns - 1, context_frames, max(1, round(columns * context_frames / count)))
    of_context = max(of_context, columns - (count - context_frames))
    of_prediction = columns - of_context
    context = np.linspace(0 if of_context > 1 else context_frames - 1, context_frames - 1, of_context)
    predicted = np.linspace(context_frames if of_prediction > 1 else count - 1, count - 1, of_prediction)
    return [round(x) for x in context], [round(x) for x in predicted]


def side_by_side(panels: Videos, times_s: Sequence[float], context_frames: int, columns: int | None = None) -> np.ndarray:
    """Draw videos as panels with captions, above a time line of context and prediction: uint8 [T, H, W, 3].

    Panels are videos as the rows of `strip`. Those that begin after the context are blank until then. H and W are even.
    columns: panels in a row; None: all.
    """
    count = len(times_s)
    check_videos(panels, count, context_frames)
    columns = columns or len(panels)
    height = enlarged_height_px(max(video.shape[1] for video in panels.values()), PANEL_PX)
    text_px = max(16, height // 14)
    margin = text_px
    widths = [round(height * video.shape[2] / video.shape[1]) for video in panels.values()]
    widths = [max(w, text_width_px(label, text_px)) for w, label in zip(widths, panels, strict=True)]
    widths = [max(widths[column::columns]) for column in range(columns)]  # of the columns
    starts = [margin + sum(widths[:i]) + i * margin for i in range(columns)]
    top = round(text_px * 2.2)
    tops = [top + i // columns * (top + height) for i in range(len(panels))]
    page_width = starts[-1] + widths[-1] + margin
    page = Image.new("RGB", (page_width + page_width % 2, (tops[-1] + height + text_px * 3) // 2 * 2), BACKGROUND)
    places = [(starts[i % columns], tops[i], widths[i % columns]) for i in range(len(panels))]
    draw = ImageDraw.Draw(page)
    for (x, y, width), label in zip(places, panels, strict=True):
        draw_text(draw, (x + width / 2, y - text_px), label, text_px, DARK, "mm")

    frames = np.empty((count, page.height, page.width, 3), np.uint8)
    for number in range(count):
        frame = page.copy()
        for (x, y, width), video in zip(places, panels.values(), strict=True):
            skipped = count - len(video)
            if number >= skipped:
                picture = resize_to_height(video[number - skipped], height)
                frame.paste(picture, (x + (width - picture.width) // 2, y))
            else:
                frame.paste((BLANK,) * 3, (x, y, x + width, y + height))
        draw_time_line(frame, tops[-1] + height + round(text_px * 1.5), margin, times_s, context_frames, number, text_px)
        frames[number] = np.asarray(frame)
    return frames


def draw_time_line(
    frame: Image.Image, y: int, margin: int, times_s: Sequence[float], context_frames: int, number: int, text_px: int
) -> None:
    """Draw the time of frame `number` at height y: text, and a bar filled up to it (context grey, prediction blue)."""
    draw = ImageDraw.Draw(frame)
    predicts = number >= context_frames
    text = f"{'prediction' if predicts else 'context'}  {seconds(times_s[number])}"
    draw_text(draw, (margin, y), text, text_px, PREDICTION if predicts else MUTED, "lm")
    left = margin + max(text_width_px(f"prediction  {seconds(t)}", text_px) for t in times_s) + text_px
    right, thickness = frame.width - margin, max(4, text_px // 3)

    def x_of(boundary: int) -> int:
        return round(left + (right - left) * boundary / len(times_s))

    def bar(start: int, stop: int, colour: tuple[int, int, int]) -> None:
        if stop > start:
            draw.rectangle((x_of(start), y - thickness // 2, x_of(stop) - 1, y + thickness // 2), fill=colour)

    bar(0, len(times_s), FAINT)
    bar(0, min(number + 1, context_frames), MUTED)
    bar(context_frames, number + 1, PREDICTION)
    draw.line((x_of(context_frames), y - thickness, x_of(context_frames), y + thickness), fill=DARK, width=2)


def check_videos(videos: Videos, count: int, context_frames: int) -> None:
    """Raise ValueError for videos that do not fit `count` times."""
    if not videos:
        raise ValueError("no videos to draw")
    if not 0 < context_frames < count:
        raise ValueError(f"context_frames is {context_frames}; expected 1 to {count - 1}, since there are {count} frames")
    for label, video in videos.items():
        if video.ndim != 4 or video.shape[3] != 3 or video.dtype != np.uint8:
            raise ValueError(f"{label}: expected uint8 [T, H, W, 3], got {video.dtype} {list(video.shape)}")
        if len(video) not in (count, count - context_frames):
            raise ValueError(
                f"{label} has {len(video)} frames; expected {count}, or {count - context_frames} after the context"
            )


def seconds(time_s: float) -> str:
    """A time with one decimal, or with two if it needs them."""
    return f"{time_s:.2f} s" if round(time_s * 100) % 10 else f"{time_s:.1f} s"
