"""Shapes as signed distances, and patterns, as functions of coordinates relative to the centre."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.worlds.flat.scenes import Pattern, Shape

Floats = NDArray[np.float32]
STAR_INNER = 0.45  # radius of a star between its points, of its radius at the points

BELOW: dict[str, float] = {"disc": 1.0, "square": 0.9, "triangle": 0.6, "star": 0.93, "pentagon": 0.88, "cross": 1.0}
"""Distance of a body's centre from what it stands on, in half widths."""
ABOVE: dict[str, float] = {"disc": 1.0, "square": 0.9, "triangle": 1.2, "star": 1.15, "pentagon": 1.09, "cross": 1.0}
"""Distance of a body's top from its centre, in half widths."""


def signed_distance(shape: Shape, x: Floats, z: Floats, half: tuple[float, float], mirrored: bool = False) -> Floats:
    """Distance from the outline, negative inside. x and z (up) broadcast against each other."""
    return _DISTANCES[shape](-x if mirrored else x, z, *half)


def _box(x: Floats, z: Floats, a: float, b: float) -> Floats:
    return np.maximum(np.abs(x) - a, np.abs(z) - b)


def _regular(x: Floats, z: Floats, radius: float, sides: int, inner: float | None = None) -> Floats:
    """A regular polygon with a corner at the top, or a star with inner corners at the radius `inner`."""
    sector = np.float32(np.pi / sides)
    angle = np.abs((np.arctan2(x, z) + sector) % (2 * sector) - sector)
    distance = np.hypot(x, z)
    u, v = distance * np.cos(angle), distance * np.sin(angle)  # a corner is at (radius, 0)
    valley = np.cos(sector) * radius if inner is None else inner
    edge = np.array([valley * np.cos(sector) - radius, valley * np.sin(sector)])
    normal = np.array([edge[1], -edge[0]]) / np.linalg.norm(edge)
    return np.float32(normal[0]) * (u - np.float32(radius)) + np.float32(normal[1]) * v


def _rounded(x: Floats, z: Floats, a: float, b: float) -> Floats:
    corner = 0.4 * min(a, b)
    dx, dz = np.abs(x) - (a - corner), np.abs(z) - (b - corner)
    return np.hypot(np.maximum(dx, 0), np.maximum(dz, 0)) + np.minimum(np.maximum(dx, dz), 0) - np.float32(corner)


def _ellipse(x: Floats, z: Floats, a: float, b: float) -> Floats:
    u, v = x / np.float32(a), z / np.float32(b)
    length = np.hypot(u, v)
    steepness = np.maximum(np.hypot(u / np.float32(a), v / np.float32(b)), np.float32(1e-6))
    return (length - 1) * length / steepness


def _trapezoid(x: Floats, z: Floats, a: float, b: float) -> Floats:
    lean = 0.22 * a / (2 * b)  # the sides lean inwards: the top is 22 % narrower
    side = (np.abs(x) - a + np.float32(lean) * (z + np.float32(b))) / np.float32(np.hypot(1, lean))
    return np.maximum(side, np.abs(z) - np.float32(b))


def _house(x: Floats, z: Floats, a: float, b: float) -> Floats:
    slope = 0.7 * b / a
    roof = (z - np.float32(b) + np.float32(slope) * np.abs(x)) / np.float32(np.hypot(1, slope))
    return np.maximum(np.maximum(np.abs(x) - np.float32(a), -z - np.float32(b)), roof)


def _hill(x: Floats, z: Floats, a: float, b: float) -> Floats:
    return np.maximum(_ellipse(x, z + np.float32(b), a, 2 * b), -z - np.float32(b))


def _ramp(x: Floats, z: Floats, a: float, b: float) -> Floats:
    """High at the left, with the right angle below."""
    slope = (z * np.float32(a) + x * np.float32(b)) / np.float32(np.hypot(a, b))
    return np.maximum(np.maximum(slope, -z - np.float32(b)), -x - np.float32(a))


_DISTANCES: dict[str, Callable[[Floats, Floats, float, float], Floats]] = {
    "disc": lambda x, z, a, b: np.hypot(x, z) - np.float32(a),
    "square": lambda x, z, a, b: _box(x, z, 0.9 * a, 0.9 * a),
    "triangle": lambda x, z, a, b: _regular(x, z, 1.2 * a, 3),
    "star": lambda x, z, a, b: _regular(x, z, 1.15 * a, 5, STAR_INNER * 1.15 * a),
    "pentagon": lambda x, z, a, b: _regular(x, z, 1.09 * a, 5),
    "cross": lambda x, z, a, b: np.minimum(_box(x, z, a, 0.4 * a), _box(x, z, 0.4 * a, a)),
    "box": _box,
    "ramp": _ramp,
    "rounded": _rounded,
    "ellipse": _ellipse,
    "trapezoid": _trapezoid,
    "house": _house,
    "hill": _hill,
}


def darkening(pattern: Pattern, x: Floats, z: Floats, half: float, per_px: float) -> Floats:
    """How much a pattern darkens points, 0 to 1, with soft edges one pixel wide.

    per_px: metres per pixel. x and z broadcast against each other.
    """
    return np.clip(0.5 + _PATTERNS[pattern](x, z, half) / np.float32(per_px), 0, 1)


def _waves(x: Floats, period: float) -> Floats:
    return np.float32(period / (2 * np.pi)) * np.sin(x * np.float32(2 * np.pi / period))


_PATTERNS: dict[str, Callable[[Floats, Floats, float], Floats]] = {
    "halves": lambda x, z, half: x + 0 * z,
    "stripes": lambda x, z, half: _waves(x, half) + 0 * z,
    "bands": lambda x, z, half: _waves(z, half) + 0 * x,
    "dot": lambda x, z, half: np.float32(0.42 * half) - np.hypot(x, z),
    "checker": lambda x, z, half: _waves(x, half) * _waves(z, half) * np.float32(2 * np.pi / half),
    "rings": lambda x, z, half: _waves(np.hypot(x, z), 0.6 * half),
}
"""Signed distances, in metres, from the edges of the dark areas. "plain" has none."""
