"""Read JSON files of unknown origin, with a limit of size and one-line errors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

from worldmodel.files.regular_file import open_regular

MAX_BYTES = 1 << 28  # the largest file, the trials of 100,000 videos, has a fifth of that


def read_json_object(path: Path, error_type: type[Exception]) -> dict[str, Any]:
    """Read the JSON object in a file. Raises `error_type` with the name of the file for anything else."""
    found = read_json(path, error_type)
    if not isinstance(found, dict):
        raise error_type(f"{path}: expected a JSON object, found {_type_name(found)}")
    return found


def read_json(path: Path, error_type: type[Exception]) -> Any:
    """Read the JSON value in a file. Raises `error_type` with the name of the file where it cannot be read."""
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise error_type(f"{path} cannot be read: {problem.strerror or problem}") from None
    if len(content) > MAX_BYTES:
        size = os.path.getsize(path)
        raise error_type(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read; no file of this project is that large")
    try:
        return parse_json(content)
    except ValueError as problem:
        raise error_type(f"{path} is damaged or is not a JSON file ({problem})") from None


def parse_json(content: bytes | str) -> Any:
    """Parse a JSON text. Raises ValueError, also for text that is nested too deeply or is not UTF-8.

    NaN and Infinity are accepted, because earlier versions wrote them.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def raise_missing_field(path: Path, problem: Exception, error_type: type[Exception]) -> NoReturn:
    """Raise `error_type` for a file whose object lacks a field, or has an unexpected value in one."""
    what = f"no field {problem}" if isinstance(problem, KeyError) else f"{type(problem).__name__}: {problem}"
    raise error_type(
        f"{path} does not have the expected content ({what}); it was changed, or another version wrote it"
    ) from problem


def _type_name(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "null", bool: "true or false"}.get(type(value), "a number")
