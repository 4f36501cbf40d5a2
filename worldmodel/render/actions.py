"""Draw the actions between frames: an arrow where they have two numbers, else a bar per number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from worldmodel.render.latents import SIZE_PX, SUPERSAMPLING
from worldmodel.render.style import BACKGROUND, DARK, FAINT, MUTED, Rgb, draw_text

MOST_BARS = 16  # numbers of an action that are drawn
LENGTH = 0.8  # of the longest arrow or bar, relative to the space that there is


@dataclass(frozen=True)
class ActionNames:
    """What the A numbers of an action are."""

    names: tuple[str, ...]
    units: tuple[str, ...] = ()  # () where unknown

    def unit(self, number: int) -> str:
        return self.units[number] if number < len(self.units) else ""

    def label(self, number: int) -> str:
        """ "dx (px)" """
        unit = self.unit(number)
        return f"{self.names[number]} ({unit})" if unit else self.names[number]

    @property
    def title(self) -> str:
        """ "dx, dy (px)" """
        count = len(self.names)
        units = [self.unit(number) for number in range(count)]
        if count > 2 or len(set(units)) > 1:
            return ", ".join(self.label(number) for number in range(min(count, 3))) + (", ..." if count > 3 else "")
        return ", ".join(self.names) + (f" ({units[0]})" if units and units[0] else "")


@dataclass(frozen=True)
class ShownActions:
    """The actions of a rollout, and what the model predicts for other ones after the context. A latent covers f frames."""

    names: ActionNames
    recorded: np.ndarray  # [T - 1, k, A], the k actions between two frames
    other: np.ndarray  # [T - 1, k, A], equal within the context
    prediction: np.ndarray  # [T/f, N, D] latents of the context, then those predicted for `other`
    error: np.ndarray  # [T/f, N] distance between `prediction` and the ground truth; 0 within the context
    decoded: np.ndarray | None  # uint8 [T, s, s, 3] `prediction` as the decoder draws it
    nearest: np.ndarray | None = None  # uint8 [T, S, S, 3] the training frame nearest to each step of `prediction`


@dataclass(frozen=True)
class ActionScale:
    """How actions are drawn: relative to `origin` [A], with `extent` [A] as the longest."""

    origin: np.ndarray
    extent: np.ndarray

    def relative(self, actions: np.ndarray) -> np.ndarray:
        """[..., A] -> [..., A] in [-1, 1]."""
        return ((actions - self.origin) / self.extent).clip(-1, 1)


def action_scale(actions: Sequence[np.ndarray], names: ActionNames) -> ActionScale:
    """One scale for all of some actions [..., A]: from 0, or from the middle of a range that does not include 0.

    Numbers of equal units have the same extent, so that directions are true.
    """
    rows = np.concatenate([some.reshape(-1, some.shape[-1]) for some in actions])
    low, high = rows.min(0), rows.max(0)
    origin = np.where((low <= 0) & (high >= 0), 0.0, (low + high) / 2)
    reached = np.maximum(high - origin, origin - low)
    units = [names.unit(number) for number in range(rows.shape[1])]
    extent = np.array([max(reached[i] for i, other in enumerate(units) if other == unit) for unit in units])
    return ActionScale(origin, np.where(extent > 0, extent, 1.0))


def action_frames(actions: np.ndarray, names: ActionNames, scale: ActionScale, size_px: int = SIZE_PX) -> np.ndarray:
    """Draw the actions [T - 1, k, A] between T frames: uint8 [T, S, S, 3].

    Each frame shows the mean of the k actions that led to it; the first one shows none. A = 2: an arrow from the centre, whose
    second number points down, as rows of a picture do, and dots where earlier arrows ended. Else a bar per number.
    """
    means = [None, *actions.mean(1)]
    page = Image.new("RGB", (size_px * SUPERSAMPLING,) * 2, BACKGROUND)
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, page.width - 1, page.height - 1), outline=FAINT, width=SUPERSAMPLING)
    draw_one = _arrow if actions.shape[2] == 2 else _bars
    frames = []
    for number, action in enumerate(means):
        frame = page.copy()
        earlier = [scale.relative(mean) for mean in means[1:number]]
        draw_one(frame, action, earlier, names, scale)
        frames.append(np.asarray(frame.resize((size_px, size_px), Image.Resampling.LANCZOS)))
    return np.stack(frames)


def _arrow(
    frame: Image.Image, action: np.ndarray | None, earlier: Sequence[np.ndarray], names: ActionNames, scale: ActionScale
) -> None:
    draw, side = ImageDraw.Draw(frame), frame.width
    centre, text_px = side / 2, side // 15
    half = (centre - text_px * 1.6) * LENGTH
    draw.line((text_px, centre, side - text_px, centre), fill=FAINT, width=SUPERSAMPLING)
    draw.line((centre, text_px * 1.6, centre, side - text_px * 1.6), fill=FAINT, width=SUPERSAMPLING)
    draw_text(draw, (side - text_px / 2, centre - text_px / 3), _axis(names, scale, 0), text_px, MUTED, "rs")
    draw_text(draw, (centre, side - text_px / 2), _axis(names, scale, 1), text_px, MUTED, "ms")
    for x, y in earlier:
        _dot(draw, centre + x * half, centre + y * half, SUPERSAMPLING * 2.0, MUTED)
    if action is None:
        return
    (x, y), radius = scale.relative(action), SUPERSAMPLING * 4.0
    tip = centre + x * half, centre + y * half
    _draw_arrow(draw, (centre, centre), tip, 4 * SUPERSAMPLING)
    _dot(draw, centre, centre, radius, DARK)
    value = ", ".join(_number(number) for number in action)
    draw_text(draw, (text_px / 2, text_px / 2), value, text_px, DARK, "la")


def _axis(names: ActionNames, scale: ActionScale, number: int) -> str:
    """ "dx (px)"; with the number that the centre stands for where that is not 0."""
    origin = scale.origin[number]
    return names.label(number) + (f", centre {_number(origin)}" if origin else "")


def _draw_arrow(draw: ImageDraw.ImageDraw, start: tuple[float, float], tip: tuple[float, float], width: int) -> None:
    """A line with a head, which is smaller where the line is short."""
    length = math.dist(start, tip)
    if length < 1:
        return
    along = (tip[0] - start[0]) / length, (tip[1] - start[1]) / length
    head = min(5.0 * width, length)
    neck = tip[0] - along[0] * head, tip[1] - along[1] * head
    draw.line((*start, *neck), fill=DARK, width=width)
    across = -along[1] * head * 0.45, along[0] * head * 0.45
    draw.polygon((tip, (neck[0] + across[0], neck[1] + across[1]), (neck[0] - across[0], neck[1] - across[1])), fill=DARK)


def _bars(
    frame: Image.Image, action: np.ndarray | None, _earlier: Sequence[np.ndarray], names: ActionNames, scale: ActionScale
) -> None:
    draw, side, count = ImageDraw.Draw(frame), frame.width, min(len(names.names), MOST_BARS)
    more = len(names.names) - count
    pitch = side / (count + (1 if more else 0) + 0.5)
    text_px = int(min(side // 17, pitch * 0.42))
    centre, half = side / 2, side / 2 * LENGTH
    draw.line((centre, 0, centre, side), fill=FAINT, width=SUPERSAMPLING)
    for number in range(count):
        top = pitch * (0.25 + number)
        draw_text(draw, (text_px / 2, top + text_px * 1.1), _axis(names, scale, number), text_px, MUTED, "ls")
        if action is None:
            continue
        draw_text(draw, (side - text_px / 2, top + text_px * 1.1), _number(action[number]), text_px, DARK, "rs")
        end = centre + float(scale.relative(action)[number]) * half
        draw.rectangle((min(centre, end), top + text_px * 1.4, max(centre, end), top + pitch * 0.85), fill=DARK)
    if more:
        draw_text(draw, (text_px / 2, side - text_px / 2), f"and {more} more numbers", text_px, MUTED, "ls")


def _number(value: float) -> str:
    """Three digits, with a real minus sign."""
    return f"{0.0 if abs(value) < 5e-4 else value:.3g}".replace("-", "\N{MINUS SIGN}")


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: Rgb) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
