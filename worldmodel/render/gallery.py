"""Rollouts on one HTML page that opens offline: synchronised panels, and curves over time with a cursor."""

from __future__ import annotations

import base64
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from worldmodel.render.pages import templates
from worldmodel.render.style import FAINT, resize_to_height, save_atomically
from worldmodel.video import write_video

PANEL_PX = 256
COLUMNS = 4  # all panels of a card are tiles of one video, so that they stay synchronised
LEFT, TOP, WIDTH, HEIGHT, BOTTOM = 52, 12, 720, 170, 34  # size and margins of the plot in px


@dataclass(frozen=True)
class GalleryCard:
    """One rollout of a page. Panels and curves have a value for each of its T frames."""

    title: str
    caption: str
    fps: float
    context_frames: int
    panels: Mapping[str, np.ndarray]  # label -> uint8 [T, H, W, 3], squares
    curves: Mapping[str, Sequence[float]]  # label -> [T], NaN where there is no value
    notes: Sequence[str] = ()


def write_gallery(
    path: Path, title: str, quantity: str, caption: str, cards: Sequence[GalleryCard], notes: Sequence[str]
) -> Path:
    """Write one HTML file, atomically. `quantity`: what the curves show. Raises ValueError for lengths that do not match."""
    content = {"title": title, "quantity": quantity, "caption": caption, "notes": notes, "cards": [_card(c) for c in cards]}
    text = templates("worldmodel.render").get_template("gallery.html").render(content)
    save_atomically(path, lambda file: file.write(text.encode()))
    return path


def _card(card: GalleryCard) -> dict[str, Any]:
    """Values of a card that the template inserts."""
    count = len(next(iter(card.panels.values())))
    lengths = {label: len(video) for label, video in card.panels.items()}
    for label, length in (lengths | {label: len(values) for label, values in card.curves.items()}).items():
        if length != count:
            raise ValueError(f"{card.title}: {label} has {length} values for {count} frames; expected one per frame")
    video = base64.b64encode(_mp4(tiled(list(card.panels.values())), card.fps)).decode()
    columns = min(COLUMNS, len(card.panels))
    return {"card": card, "frames": count, "video": video, "columns": columns, "plot": _plot(card, count)}


def tiled(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Tile videos of T frames row by row into one video: uint8 [T, rows * PANEL_PX, columns * PANEL_PX, 3]."""
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    page = np.full((len(panels[0]), rows * PANEL_PX, columns * PANEL_PX, 3), FAINT, np.uint8)
    for i, video in enumerate(panels):
        top, left = i // columns * PANEL_PX, i % columns * PANEL_PX
        for number, frame in enumerate(video):
            page[number, top : top + PANEL_PX, left : left + PANEL_PX] = np.asarray(resize_to_height(frame, PANEL_PX))
    return page


def _plot(card: GalleryCard, count: int) -> dict[str, Any]:
    """Coordinates of the plot. Curves are drawn as steps: a value holds for the duration of its frame."""
    largest = max((v for values in card.curves.values() for v in values if math.isfinite(v)), default=0.0) or 1.0
    ticks = [tick for tick in MaxNLocator(4).tick_values(0, largest) if tick >= 0]
    inner, floor = WIDTH - LEFT - 12, HEIGHT - BOTTOM

    def x(frame: float) -> float:
        return LEFT + frame / count * inner

    def y(value: float) -> float:
        return floor - value / ticks[-1] * (floor - TOP)

    paths = []
    for values in card.curves.values():
        parts = [
            f"{'M' if i == 0 or not math.isfinite(values[i - 1]) else 'L'}{x(i):.1f} {y(v):.1f}H{x(i + 1):.1f}"
            for i, v in enumerate(values)
            if math.isfinite(v)
        ]
        paths.append("".join(parts))
    seconds = [tick for tick in MaxNLocator(6).tick_values(0, count / card.fps) if 0 <= tick <= count / card.fps]
    return {
        "paths": paths,
        "y": [(y(tick), f"{tick:.3g}") for tick in ticks],
        "x": [(x(tick * card.fps), f"{tick:.3g}") for tick in seconds],
        "border": x(card.context_frames),
        "left": LEFT,
        "right": LEFT + inner,
        "top": TOP,
        "floor": floor,
        "width": WIDTH,
        "height": HEIGHT,
        "values": [[None if not math.isfinite(v) else float(f"{v:.4g}") for v in values] for values in card.curves.values()],
    }


def _mp4(frames: np.ndarray, fps: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, frames, fps)
        return path.read_bytes()
