"""Distances between hues. The colour circle has length 1."""

from __future__ import annotations


def hue_gap(one: float, other: float) -> float:
    """Distance on the colour circle, 0 to 0.5."""
    gap = abs(one - other) % 1
    return min(gap, 1 - gap)
