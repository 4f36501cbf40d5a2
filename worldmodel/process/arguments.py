"""Command-line arguments: numbers that make no sense, and names that no text can hold, are refused at once. No torch."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Collection


def number(least: float, most: float = math.inf, what: str = "a number") -> Callable[[str], float]:
    """A finite number of that range, both ends included."""

    def finite(text: str) -> float:
        value = _float(text)
        if not (math.isfinite(value) and least <= value <= most):
            limits = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"{text}: expected {what}, {limits}")
        return value

    return finite


def above_zero(what: str) -> Callable[[str], float]:
    """A finite number above 0."""

    def positive(text: str) -> float:
        value = _float(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text}: expected {what}, above 0")
        return value

    return positive


def rate(text: str) -> float:
    """Frames a second, above 0."""
    value = _float(text)
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


def frames_or_seconds(text: str) -> str:
    """A length: "8" is 8 frames, "0.5s" half a second. What that is in frames depends on the rate, so the text is returned."""
    value = _float(text[:-1]) if text.endswith("s") else _whole(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected frames (8) or seconds (0.5s), above 0")
    return text


def listed(one: Callable[[str], object]) -> Callable[[str], str]:
    """Several values of a type, separated by commas; the text is returned."""

    def several(text: str) -> str:
        for part in text.split(","):
            one(part)
        return text

    return several


def check_text(parser: argparse.ArgumentParser, args: argparse.Namespace, but: Collection[str] = ()) -> None:
    """End the program where an argument is not UTF-8: no manifest, recipe or page could name it. `but`: not these."""
    for name, value in vars(args).items():
        for word in value if isinstance(value, list | tuple) else [value]:
            if name not in but and isinstance(word, str | os.PathLike) and not is_utf8(os.fspath(word)):
                parser.error(f"{ascii(os.fspath(word))[1:-1]}: this name is not UTF-8; rename it, and give the new name")


def is_utf8(name: str) -> bool:
    """Whether a file name can be written as text. Python represents other bytes by surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _float(text: str) -> float:
    """NaN where the text is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return math.nan
