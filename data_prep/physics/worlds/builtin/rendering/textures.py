"""Textures given by formulas of the coordinates on the surface. No image files are needed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def _checker(x: Floats, y: Floats, z: Floats) -> Floats:
    return (np.floor(x) + np.floor(y)) % 2


def _octants(x: Floats, y: Floats, z: Floats) -> Floats:
    return (x * y * z > 0).astype(np.float32)  # eight alternating patches, so that the rolling of a ball is visible


def _stripes(x: Floats, y: Floats, z: Floats) -> Floats:
    return np.floor(x + 0.5) % 2


def _bands(x: Floats, y: Floats, z: Floats) -> Floats:
    return np.floor(z + 0.5) % 2


def _bricks(x: Floats, y: Floats, z: Floats) -> Floats:
    row = np.floor(2 * z)
    return (((x + 0.5 * (row % 2)) % 1 < 0.06) | ((2 * z) % 1 < 0.12)).astype(np.float32)


def _marble(x: Floats, y: Floats, z: Floats) -> Floats:
    """Veins as in stone: a sine whose phase is bent by slower sines."""
    bend = np.sin(1.7 * x + 0.6 * z) + 0.7 * np.sin(2.9 * y - 1.3 * x + 0.8) + 0.4 * np.sin(5.3 * z + 3.1 * x)
    return (0.5 + 0.5 * np.sin(2.2 * (x + y + z) + 2.0 * bend)).astype(np.float32)


def _dots(x: Floats, y: Floats, z: Floats) -> Floats:
    return (((x % 1) - 0.5) ** 2 + ((y % 1) - 0.5) ** 2 + ((z % 1) - 0.5) ** 2 < 0.16).astype(np.float32)


def _rings(x: Floats, y: Floats, z: Floats) -> Floats:
    return np.floor(np.sqrt(x * x + z * z) + 0.5) % 2


def _waves(x: Floats, y: Floats, z: Floats) -> Floats:
    return (np.sin(2 * np.pi * (x + 0.25 * np.sin(2 * np.pi * (y + z)))) > 0).astype(np.float32)


PATTERNS: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "checker": _checker,
    "octants": _octants,
    "stripes": _stripes,
    "bands": _bands,
    "bricks": _bricks,
    "marble": _marble,
    "dots": _dots,
    "rings": _rings,
    "waves": _waves,
}


def darkening(pattern: str, local_m: NDArray[np.float64], per_m: float) -> Floats:
    """How much a pattern darkens the points [R, 3], from 0 to 1.

    The points are in the coordinates of the entity.
    """
    x, y, z = (local_m * per_m).astype(np.float32).T
    return PATTERNS[pattern](x, y, z).astype(np.float32)
