"""Types of command-line arguments that refuse invalid numbers and names. This module does not import torch."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

from worldmodel.storage.secrets import without_secrets
from worldmodel.storage.urls import UrlError, is_url, refuse_secrets

_SCHEME = re.compile(r"^([A-Za-z0-9]+):/+")  # a Path loses one of the slashes of a URL


def finite_number(minimum: float, maximum: float = math.inf, expected: str = "a number") -> Callable[[str], float]:
    """Type of a finite number from `minimum` to `maximum`, both included."""

    def finite(text: str) -> float:
        value = _float(text)
        if not (math.isfinite(value) and minimum <= value <= maximum):
            limits = f"{minimum:g} or more" if maximum == math.inf else f"{minimum:g} to {maximum:g}"
            raise argparse.ArgumentTypeError(f"{text}: expected {expected}, {limits}")
        return value

    return finite


def positive_number(expected: str) -> Callable[[str], float]:
    """Type of a finite number above 0."""

    def positive(text: str) -> float:
        value = _float(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text}: expected {expected}, above 0")
        return value

    return positive


def path_or_url(text: str) -> Path | str:
    """A path; or a URL as it is, since a Path would lose one of its slashes."""
    return text if is_url(text) else Path(text)


def frame_rate(text: str) -> float:
    """Parse a number of frames per second, above 0."""
    value = _float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected frames per second, above 0")
    return value


def whole_number(minimum: int, maximum: float = math.inf) -> Callable[[str], int]:
    """Type of a whole number from `minimum` to `maximum`, both included."""

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(
                f"{text}: expected {minimum} {'or more' if maximum == math.inf else f'to {maximum}'}"
            )
        return value

    return whole


def frames_or_seconds(text: str) -> str:
    """Check a length: "8" is 8 frames, "0.5s" is half a second. The text is returned, because frames depend on the rate."""
    value = _float(text[:-1]) if text.endswith("s") else _whole(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected frames (8) or seconds (0.5s), above 0")
    return text


def comma_separated(parse_one: Callable[[str], object]) -> Callable[[str], str]:
    """Type of several values, separated by commas. The text is returned."""

    def several(text: str) -> str:
        for part in text.split(","):
            parse_one(part)
        return text

    return several


def check_names(parser: argparse.ArgumentParser, args: argparse.Namespace, except_names: Collection[str] = ()) -> None:
    """End the program where an argument is not UTF-8, a URL with a secret, or a URL instead of a path.

    Manifests and pages could not name what is not UTF-8, and would show a secret. except_names: names of arguments that may
    have names that are not UTF-8.
    """
    for name, value in vars(args).items():
        for word in value if isinstance(value, list | tuple) else [value]:
            if name not in except_names and isinstance(word, str | os.PathLike) and not is_utf8(os.fspath(word)):
                parser.error(f"{ascii(os.fspath(word))[1:-1]}: this name is not UTF-8; rename it, and give the new name")
            if isinstance(word, str) and "=" not in word.partition("://")[0]:  # a recipe checks its fields and names them
                try:
                    refuse_secrets([word])
                except UrlError as error:
                    parser.error(str(error))
            if isinstance(word, Path) and is_url(url := _SCHEME.sub(r"\1://", word.as_posix())):
                parser.error(
                    f"{without_secrets(url)}: this argument names a file or folder of this machine, not a URL; the "
                    "documentation of object storage says what may be at a URL"
                )


def is_utf8(name: str) -> bool:
    """Whether a file name is valid UTF-8. Python represents other bytes by surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _float(text: str) -> float:
    """The number, or NaN where the text is not a number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return math.nan
