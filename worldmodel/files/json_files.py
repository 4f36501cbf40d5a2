"""JSON files that somebody else may have written, cut or changed: read with a limit of size, and with one-line errors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

from worldmodel.files.regular_file import open_regular

MAX_BYTES = 1 << 28  # trials of a hundred thousand videos take a fifth of that


def read_object(path: Path, error: type[Exception]) -> dict[str, Any]:
    """The JSON object in a file. Raises `error`, whose message names the file, for anything else."""
    found = read_value(path, error)
    if not isinstance(found, dict):
        raise error(f"{path}: expected a JSON object, found {_named(found)}")
    return found


def read_value(path: Path, error: type[Exception]) -> Any:
    """The JSON value in a file. Raises `error`, whose message names the file, where it cannot be read."""
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}") from None
    if len(content) > MAX_BYTES:
        size = os.path.getsize(path)
        raise error(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read, and no file of this project is as large")
    try:
        return parsed(content)
    except ValueError as problem:
        raise error(f"{path} is damaged or is no JSON file ({problem})") from None


def parsed(content: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError, also for text that is nested too deeply or not UTF-8.

    NaN and Infinity are read, since earlier versions wrote them.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def missing_field(path: Path, problem: Exception, error: type[Exception]) -> NoReturn:
    """Raise `error` for a file whose object lacks a field, or has another value in it than expected."""
    what = f"no field {problem}" if isinstance(problem, KeyError) else f"{type(problem).__name__}: {problem}"
    raise error(
        f"{path} does not hold what is expected of it ({what}); it was changed, or another version wrote it"
    ) from problem


def _named(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "null", bool: "true or false"}.get(type(value), "a number")
