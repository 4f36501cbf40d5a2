"""Rows of log files: one JSON object per line. This module does not import torch, so that logs are read quickly."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from worldmodel.config.renamed import with_new_columns
from worldmodel.files.atomic import sync_to_disk, write_bytes
from worldmodel.files.output_errors import output_errors
from worldmodel.files.regular_file import open_regular


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON object as a line. NaN and infinity become null.

    An incomplete last line, left by a kill, is ended first. Raises OutputError, and TypeError for
    values other than numbers, text, booleans and None.
    """
    line = json.dumps({name: to_json_value(name, value) for name, value in row.items()}, ensure_ascii=False, allow_nan=False)
    with output_errors(path), path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())


def to_json_value(name: str, value: Any) -> str | bool | int | float | None:
    """Convert a value of a row to JSON; `name` stands in the TypeError."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    raise TypeError(
        f"{name} is a {type(value).__name__}; the log accepts numbers and text. Convert tensors with .item(), and only "
        "in steps that are logged, because each conversion waits for the device"
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows in order; none where there is no file. Damaged lines and an incomplete last line are skipped."""
    return [row for line in _read_lines(path)[0] if (row := _parse_row(line)) is not None]


def truncate_after(path: Path, step: float, expected: int = 0) -> list[str]:
    """Remove rows of later steps and damaged lines from a log. Returns the problems that were found, as clauses.

    A kill may leave an incomplete last line. Where other lines are damaged, a copy of the file is
    saved beside it first. expected: the number of rows up to `step`, as far as it is known. The file
    is replaced atomically.
    """
    if not path.exists():
        return [_missing_rows(expected, expected, step)] if expected else []
    lines, rest = _read_lines(path)
    rows = [_parse_row(line) for line in lines]
    is_valid = [row is not None and _is_number(row.get("step")) for row in rows]
    remaining = [line for line, row, valid in zip(lines, rows, is_valid, strict=True) if valid and row and row["step"] <= step]
    found = []
    if damaged := is_valid.count(False):
        copy = _free_name(path)
        write_bytes(copy, path.read_bytes())
        sync_to_disk(path.parent)
        found.append(f"{damaged} damaged line{'s were' if damaged > 1 else ' was'} removed (the original is {copy.name})")
    if rest:
        found.append("its incomplete last line was removed")
    if len(remaining) < expected:
        found.append(_missing_rows(expected - len(remaining), expected, step))
    content = b"".join(line + b"\n" for line in remaining)
    if content != path.read_bytes():
        write_bytes(path, content)
    return found


def _read_lines(path: Path) -> tuple[list[bytes], bytes]:
    """Complete lines, without empty ones, and the rest after the last line break."""
    if not path.exists():
        return [], b""
    with open_regular(path) as file:
        whole, _, rest = file.read().rpartition(b"\n")
    return [line for line in whole.split(b"\n") if line], rest


def _parse_row(line: bytes) -> dict[str, Any] | None:
    """The row in a line; None where the line is damaged."""
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return with_new_columns(row) if isinstance(row, dict) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _missing_rows(count: int, expected: int, step: float) -> str:
    """Message about rows that a checkpoint counted and that are missing, for example after a power failure."""
    verb = "are" if count > 1 else "is"
    return f"{count} of the {expected} rows up to step {step:.0f} {verb} missing and cannot be recovered"


def _free_name(path: Path) -> Path:
    names = itertools.chain([f"{path.name}.damaged"], (f"{path.name}.damaged-{n}" for n in itertools.count(2)))
    return next(new for name in names if not os.path.lexists(new := path.with_name(name)))
