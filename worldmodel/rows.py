"""Rows of a run's log: a JSON object on each line of a file that grows. No torch: a log is read in a moment."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from worldmodel.atomic import write_text


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """One JSON object on one line. NaN and infinity, which JSON has not, become null; other than plain values: TypeError."""
    line = json.dumps({name: plain(name, value) for name, value in row.items()}, ensure_ascii=False, allow_nan=False)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(line + "\n")


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
    """Whole rows, in order; none where there is no file. A last line cut short by a kill is left out."""
    return [json.loads(line) for line in whole_lines(path)]


def truncate_after(path: Path, update: float) -> None:
    """Cut off rows of later updates, and a last line cut short; the file is whole at any moment."""
    if not path.exists():
        return
    kept = "".join(line for line in whole_lines(path) if json.loads(line)["update"] <= update)
    if kept.encode() == path.read_bytes():
        return
    write_text(path, kept)


def whole_lines(path: Path) -> list[str]:
    """Lines with their end; the last one only if it has one. Bytes first: a cut may fall inside a character."""
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [f"{line}\n" for line in whole.decode("utf-8").split("\n") if line]
