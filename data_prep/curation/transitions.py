"""Detection of gradual transitions between shots: dissolves, and fades from and to black or another colour.

The pictures in a transition are blends (1 - a) A + a B of the pictures before and after it, and a grows
from 0 to 1. So a transition is a window whose two ends are different pictures, and whose inner pictures
lie on the line between them. A moving object or camera shows other pictures in between. Light that
changes within a shot keeps the picture, except for its brightness and contrast: its ends correlate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_prep.curation.cuts import reduced
from worldmodel.config import Config

SIDE = 16  # pictures are compared as SIDE x SIDE cells of brightness
INNER = (0.25, 0.5, 0.75)  # of a window: where its inner pictures are compared first
RISE = ((0.1, 0.45), (0.3, 0.7), (0.55, 0.9))  # shares of the second picture in a blend that are expected there
BLENDED = (0.05, 0.95)  # share of the second picture between which a picture counts as a blend
MOVING = 0.25  # share of the cells in which something may move during a transition
LENGTH_STEP = 1.3  # ratio of the lengths of windows that are tried


class TransitionConfig(Config):
    """When frames are a gradual transition between two shots."""

    min_change: float = 10.0
    """least mean difference between the pictures before and after, in grey levels of 255"""
    max_correlation: float = 0.6
    """greatest correlation of the two pictures; plain pictures correlate with none"""
    max_residual: float = 0.15
    """greatest distance of a picture in between from the line between the two, as a share of their distance; without a
    quarter of the cells, in which something may move"""
    min_s: float = 0.3
    """shorter transitions are not looked for"""
    max_s: float = Field(2.5, ge=0)
    """longer transitions are not looked for; 0: none are"""


def brightness_cells(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The brightness of frames in cells: [T, H, W, 3] -> [T, rows, columns], with at most 2 SIDE - 1 rows and columns."""
    return (reduced(frames, SIDE) @ np.array([0.299, 0.587, 0.114], np.float32)).round().astype(np.uint8)


def find_transitions(cells: NDArray[np.uint8], config: TransitionConfig, fps: float, plain_std: float) -> list[tuple[int, int]]:
    """Frames [start, stop) that are blends of two shots, in order and without overlap.

    cells: [T, rows, columns], of every frame that is examined, at `fps`. plain_std: a picture whose grey
    levels have a smaller standard deviation is plain.
    """
    pictures = cells.reshape(len(cells), -1).astype(np.float32)
    found = [window for length in _lengths(config, fps) for window in _windows(pictures, length, config, plain_std)]
    chosen: list[_Window] = []
    for window in sorted(found, key=lambda window: window.strength, reverse=True):
        if all(window.stop <= other.start or window.start >= other.stop for other in chosen):
            chosen.append(window)
    spans = sorted(_blended(pictures, window) for window in chosen)
    return [(start, stop) for start, stop in spans if start < stop]


@dataclass(frozen=True)
class _Window:
    """Frames from `start` to `stop`, both included, that look like a transition."""

    start: int
    stop: int
    strength: float


def _lengths(config: TransitionConfig, fps: float) -> list[int]:
    """Lengths of windows in frames, increasing geometrically."""
    longest, length, lengths = round(config.max_s * fps), max(3.0, config.min_s * fps), set[int]()
    while round(length) <= longest:
        lengths.add(round(length))
        length *= LENGTH_STEP
    return sorted(length for length in {*lengths, longest} if length >= 3)  # none: nothing is looked for


def _windows(pictures: NDArray[np.float32], length: int, config: TransitionConfig, plain_std: float) -> list[_Window]:
    """All windows of `length` frames that look like a transition."""
    if len(pictures) <= length:
        return []
    first, last = pictures[:-length], pictures[length:]
    change = np.abs(last - first).mean(1)
    starts = np.flatnonzero(change >= config.min_change)
    starts = starts[_correlation(first[starts], last[starts], plain_std) <= config.max_correlation]
    step = last[starts] - first[starts]
    residual = np.zeros(len(starts), np.float32)
    passed = np.ones(len(starts), bool)
    for where, (least, most) in zip(INNER, RISE, strict=True):
        share, distance = _blend(pictures[starts + round(where * length)] - first[starts], step)
        passed &= (share >= least) & (share <= most)
        residual = np.maximum(residual, distance)
    passed &= residual <= config.max_residual
    strength = change[starts] * (1 - residual)
    return [
        _Window(start, start + length, value)
        for start, value in zip(starts[passed].tolist(), strength[passed].tolist(), strict=True)
    ]


def _blend(inner: NDArray[np.float32], step: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Share of the second picture in pictures, and their distance from the line, as a share of the step; [N] each.

    inner, step: [N, cells], differences to the first picture. The cells that fit worst are left out, since
    something may move there.
    """
    share = (inner * step).sum(1) / np.maximum((step**2).sum(1), 1e-6)
    error = np.abs(inner - share[:, None] * step)
    kept = error <= np.quantile(error, 1 - MOVING, axis=1, keepdims=True) if len(error) else error > 0
    energy = np.maximum((step**2 * kept).sum(1), 1e-6)
    share = (inner * step * kept).sum(1) / energy
    return share, np.sqrt((((inner - share[:, None] * step) ** 2) * kept).sum(1) / energy)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32], plain_std: float) -> NDArray[np.float32]:
    """Correlation of pictures [N, cells] with each other, [N]; 0 where one of them is plain."""
    centred = [pictures - pictures.mean(1, keepdims=True) for pictures in (one, other)]
    spread = [pictures.std(1) for pictures in (one, other)]
    product = (centred[0] * centred[1]).mean(1) / np.maximum(spread[0] * spread[1], 1e-6)
    plain = (spread[0] < plain_std) | (spread[1] < plain_std)
    return np.where(plain, np.float32(0), product)


def _blended(pictures: NDArray[np.float32], window: _Window) -> tuple[int, int]:
    """The frames of a window that are blends."""
    inside = pictures[window.start : window.stop + 1] - pictures[window.start]
    step = inside[-1]
    share = inside @ step / max(float(step @ step), 1e-6)
    blended = np.flatnonzero((share > BLENDED[0]) & (share < BLENDED[1]))
    if not len(blended):
        return window.start, window.start
    return window.start + int(blended[0]), window.start + int(blended[-1]) + 1
