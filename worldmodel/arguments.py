"""Numbers of a command line, refused there where they make no sense."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def rate(text: str) -> float:
    """Frames a second, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no rate; expected frames a second, above 0")
    return value


def count(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A whole number of that range, both ends included."""

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text}: expected {least} {'or more' if most == math.inf else f'to {most}'}")
        return value

    return whole
