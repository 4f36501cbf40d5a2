"""Rows of a run's log: a JSON object on each line of a file that grows. No torch: a log is read in a moment."""

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
from worldmodel.files.atomic import sync, write_bytes
from worldmodel.files.output_errors import output_errors
from worldmodel.files.regular_file import open_regular


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """One JSON object on one line. NaN and infinity, which JSON has not, become null; other than plain values: TypeError.

    A line before it that a kill cut short is ended first, so that it does not spoil this one. Raises OutputError.
    """
    line = json.dumps({name: plain(name, value) for name, value in row.items()}, ensure_ascii=False, allow_nan=False)
    with output_errors(path), path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())


def plain(name: str, value: Any) -> str | bool | int | float | None:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    raise TypeError(
        f"{name} is a {type(value).__name__}; the log takes numbers and text. Convert tensors with .item(), and only "
        "in the updates that are logged: each makes the device wait"
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows in order; none where there is no file. A last line that was cut short and damaged lines are left out."""
    return [row for line in _lines(path)[0] if (row := _row(line)) is not None]


def truncate_after(path: Path, update: float, expected: int = 0) -> list[str]:
    """Cut off rows of later updates and what is damaged; what was found to be wrong, as clauses.

    The last line may have been cut short by a kill. Where other lines are damaged, a copy of the file is made beside it first.
    expected: how many rows there should be up to `update`, as far as is known. The file is whole at any moment.
    """
    if not path.exists():
        return [_missing(expected, expected, update)] if expected else []
    lines, rest = _lines(path)
    rows = [_row(line) for line in lines]
    is_row = [row is not None and _is_number(row.get("step")) for row in rows]
    kept = [line for line, row, fits in zip(lines, rows, is_row, strict=True) if fits and row and row["step"] <= update]
    found = []
    if damaged := is_row.count(False):
        copy = _free_name(path)
        write_bytes(copy, path.read_bytes())
        sync(path.parent)
        found.append(f"{damaged} damaged line{'s were' if damaged > 1 else ' was'} removed (the file as it was is {copy.name})")
    if rest:
        found.append("its last line was cut short and is removed")
    if len(kept) < expected:
        found.append(_missing(expected - len(kept), expected, update))
    content = b"".join(line + b"\n" for line in kept)
    if content != path.read_bytes():
        write_bytes(path, content)
    return found


def _lines(path: Path) -> tuple[list[bytes], bytes]:
    """Lines that have an end, without it and without empty ones; and what follows the last end."""
    if not path.exists():
        return [], b""
    with open_regular(path) as file:
        whole, _, rest = file.read().rpartition(b"\n")
    return [line for line in whole.split(b"\n") if line], rest


def _row(line: bytes) -> dict[str, Any] | None:
    """None for a line that is damaged."""
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return with_new_columns(row) if isinstance(row, dict) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _missing(count: int, expected: int, update: float) -> str:
    """Rows that a checkpoint counted and that are gone, as after a power failure."""
    verb = "are" if count > 1 else "is"
    return f"{count} of the {expected} rows up to update {update:.0f} {verb} missing and cannot be recovered"


def _free_name(path: Path) -> Path:
    names = itertools.chain([f"{path.name}.damaged"], (f"{path.name}.damaged-{n}" for n in itertools.count(2)))
    return next(new for name in names if not os.path.lexists(new := path.with_name(name)))
