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


def at_least(least: int) -> Callable[[str], int]:
    """A count of that or more."""

    def count(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number, {least} or more")
        return value

    return count
