"""Contact sheets of any manifest: one row per clip, with its class, split, times, frames and actions."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from worldmodel.manifest import SPLITS, Clip, Manifest
from worldmodel.render.style import BACKGROUND, BAD, DARK, FAINT, MUTED, draw_text, resize_to_height, text_width_px
from worldmodel.signals import SignalError, Signals, read_signals
from worldmodel.storage.urls import split_version
from worldmodel.video import VideoError, read_frames

TEXT_PX, GAP_PX, LINE_PX, ACTIONS_PX, SCALE_PX, HEAD_PX = 250, 4, 15, 48, 44, 52
CHARACTERS = 36  # of a line of text
MAX_ACTIONS = 6  # lines in the plot of a clip
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (230, 159, 0), (204, 121, 167), (86, 180, 233))


@dataclass(frozen=True)
class ClipRow:
    """A clip and what is drawn of it."""

    clip: Clip
    decision: str | None  # of a curated manifest
    pictures: tuple[Image.Image, ...]  # all of one size; none where the video cannot be read
    times_s: tuple[float, ...]  # of the pictures, in the file
    signals: Signals | None
    problem: str = ""


def choose_rows(manifest: Manifest, count: int, split: str | None = None, label: str | None = None) -> NDArray[np.int64]:
    """Row numbers of clips that show as many splits and classes as possible, spread over the manifest."""
    splits, labels = manifest.column("split"), manifest.column("label")
    labels = np.array(["" if text is None else text for text in labels], object)
    wanted = np.ones(len(manifest), bool)
    wanted &= splits == split if split is not None else True
    wanted &= labels == label if label is not None else True
    by_split = [_spread(np.flatnonzero(wanted & (splits == name)), labels, count) for name in SPLITS]
    ranked = sorted((rank, row) for rows in by_split for rank, row in enumerate(rows.tolist()))
    return np.sort(np.array([row for _, row in ranked[:count]], np.int64))


def _spread(rows: NDArray[np.int64], labels: NDArray[np.object_], count: int) -> NDArray[np.int64]:
    """At most `count` of the rows: first one of each class, then others, both evenly over the rows."""
    heads = np.sort(np.unique(labels[rows].astype(str), return_index=True)[1])
    heads = heads[_evenly(len(heads), count)]
    rest = np.setdiff1d(np.arange(len(rows)), heads)
    return rows[np.concatenate([heads, rest[_evenly(len(rest), count - len(heads))]]).astype(np.int64)]


def _evenly(length: int, count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, length - 1, min(length, count)).round().astype(np.int64))


def read_row(clip: Clip, times_s: Sequence[float], height_px: int, decision: str | None = None) -> ClipRow:
    """Read the pictures of a clip at times of the file, and its actions. What cannot be read is told in the row."""
    problem = ""
    pictures: tuple[Image.Image, ...] = ()
    wide = max(1, round(clip.width * height_px / clip.height))
    try:
        frames = read_frames(
            clip.path,
            times_s=times_s,
            size=None if clip.height <= height_px else (height_px, wide),
            member=clip.member,
            folder_fps=clip.fps,
            timing=clip.timing,
        )
        pictures = tuple(resize_to_height(frame, height_px) for frame in frames)
    except (VideoError, OSError) as error:
        problem = error.detail or error.reason if isinstance(error, VideoError) else str(error)
    signals = None
    if clip.signals is not None:
        try:
            signals = read_signals(clip.signals)
        except (SignalError, OSError) as error:
            problem = problem or f"no actions: {error}"
    return ClipRow(clip, decision, pictures, tuple(times_s), signals, problem)


def even_times(clip: Clip, count: int) -> list[float]:
    """The middles of `count` equal parts of a clip."""
    middles = clip.start_s + (np.arange(count) + 0.5) / count * (clip.stop_s - clip.start_s)
    return np.clip(middles, clip.start_s, max(clip.start_s, clip.stop_s - 0.6 / clip.fps)).tolist()


def title_of(manifest: Manifest, name: str) -> tuple[str, str]:
    """Two lines: number of clips, duration and classes; clips per split."""
    seconds = float((manifest.column("stop_s") - manifest.column("start_s")).sum())
    labels = {text for text in manifest.column("label") if text is not None}
    splits = Counter(manifest.column("split").tolist())
    duration = f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds:,.1f} s"
    classes = f", {len(labels):,} {'classes' if len(labels) > 1 else 'class'}" if labels else ""
    counts = ", ".join(f"{splits[split]:,} {split}" for split in SPLITS if splits[split])
    return f"{name}: {len(manifest):,} clips, {duration}{classes}", counts


def draw_sheet(rows: Sequence[ClipRow], title: tuple[str, str]) -> Image.Image:
    """A sheet with a row per clip."""
    widths = [sum(picture.width + GAP_PX for picture in row.pictures) for row in rows]
    heights = [_height_px(row) for row in rows]
    least = max(400, text_width_px(title[0], 15) - TEXT_PX, text_width_px(title[1], 12) - TEXT_PX)
    right = SCALE_PX if any(row.signals is not None for row in rows) else GAP_PX
    sheet = Image.new("RGB", (TEXT_PX + max(least, *widths) + right, HEAD_PX + sum(heights)), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    draw_text(pen, (GAP_PX, 8), title[0], 15, DARK, "la")
    draw_text(pen, (GAP_PX, 30), title[1], 12, MUTED, "la")
    top = HEAD_PX
    for row, width, height in zip(rows, widths, heights, strict=True):
        pen.line((0, top, sheet.width, top), fill=FAINT)
        _draw_row(sheet, pen, row, top + GAP_PX, width)
        top += height
    return sheet


def _height_px(row: ClipRow) -> int:
    """Height of a row: its pictures with their times, and the plot of its actions; or its text."""
    pictures = row.pictures[0].height + LINE_PX if row.pictures else 0
    plot = ACTIONS_PX if row.signals is not None and row.pictures else 0
    return max(pictures + plot, LINE_PX * len(_lines(row))) + 3 * GAP_PX


def _lines(row: ClipRow) -> list[str]:
    """The text of a row. The first lines are the class, or the id where there is none."""
    clip = row.clip
    file = os.path.basename(split_version(clip.path)[0])
    name = file if clip.member is None else f"{file}::{clip.member}"
    split = clip.split if row.decision in (None, "used") else f"{clip.split} ({row.decision})"
    lines = [
        *wrap(clip.label or clip.clip_id, CHARACTERS)[:2],
        f"{split}, {clip.stop_s - clip.start_s:.2f} s",
        f"{clip.frames} frames at {clip.fps:g} fps, {clip.width} x {clip.height}",
        f"{clip.start_s:.2f} to {clip.stop_s:.2f} s of",
        *wrap(name, CHARACTERS)[:2],
    ]
    if row.signals is not None:
        names = row.signals.action.names
        more = f" and {len(names) - MAX_ACTIONS} more" if len(names) > MAX_ACTIONS else ""
        lines += wrap(f"actions: {', '.join(names[:MAX_ACTIONS])}{more}", CHARACTERS)[:2]
    return lines + wrap(row.problem, CHARACTERS)[:3]


def _draw_row(sheet: Image.Image, pen: ImageDraw.ImageDraw, row: ClipRow, top: int, width: int) -> None:
    problem = wrap(row.problem, CHARACTERS)[:3]
    lines = _lines(row)
    for number, line in enumerate(lines):
        colour = BAD if line in problem else DARK if number == 0 else MUTED
        draw_text(pen, (GAP_PX, top + number * LINE_PX), line, 12 if number == 0 else 11, colour, "la")
    left, rectangle = TEXT_PX, row.clip.rectangle
    for picture, time_s in zip(row.pictures, row.times_s, strict=False):
        sheet.paste(picture, (left, top))
        if rectangle is not None:
            rows, columns = rectangle.pixels(picture.height, picture.width)
            pen.rectangle((left + columns.start, top + rows.start, left + columns.stop - 1, top + rows.stop - 1), outline=BAD)
        draw_text(pen, (left + picture.width / 2, top + picture.height + 1), f"{time_s:.2f}", 10, MUTED, "ma")
        left += picture.width + GAP_PX
    if row.signals is not None and row.pictures:
        _draw_actions(pen, row.clip, row.signals, (TEXT_PX, top + row.pictures[0].height + LINE_PX), width - GAP_PX)


def _draw_actions(pen: ImageDraw.ImageDraw, clip: Clip, signals: Signals, corner: tuple[int, int], width: int) -> None:
    """The actions of a clip over its time, each held until the next, in the range of all drawn ones."""
    left, top = corner
    inside = (signals.time_s >= clip.start_s - 1e-6) & (signals.time_s < clip.stop_s - 1e-6)
    times, actions = signals.time_s[inside], signals.actions[inside][:, :MAX_ACTIONS]
    height = ACTIONS_PX - 2 * GAP_PX
    pen.rectangle((left, top, left + width, top + height), outline=FAINT)
    if not len(times) or not np.isfinite(actions).any():
        return
    low, high = float(np.nanmin(actions)), float(np.nanmax(actions))
    across = left + (np.append(times, clip.stop_s) - clip.start_s) / (clip.stop_s - clip.start_s) * width
    down = top + height - 2 - (actions - low) / (high - low or 1.0) * (height - 4)
    for number in range(actions.shape[1]):
        points = [
            (float(x), float(y))
            for begin, end, y in zip(across[:-1], across[1:], down[:, number], strict=True)
            if np.isfinite(y)
            for x in (begin, end)
        ]
        if points:
            pen.line(points, fill=COLOURS[number], width=1)
    draw_text(pen, (left + width + GAP_PX, top), f"{high:.3g}", 10, MUTED, "la")
    draw_text(pen, (left + width + GAP_PX, top + height), f"{low:.3g}", 10, MUTED, "ld")
