"""Rows of a run's logs that a training report can be made of; damaged ones are left out and counted. No torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.errors import EvalError
from worldmodel.process.terminal import say
from worldmodel.runs.log_rows import read_rows

Row = Mapping[str, Any]
LARGEST = 3.5e38  # no float32 is larger, and figures cannot be drawn of numbers near the largest float64
KIND = {"metrics": "loss", "health": "verdict"}  # log -> a field that all of its rows have; rows without it are ignored
NEEDED = {
    "metrics": {"samples", "seconds"},
    "health": {"verdict"},
    "bad_clips": {"path", "reason"},
}  # must have a value
TEXTS = {"verdict"}
NUMBERS = {
    *(
        "samples",
        "seconds",
        "loss",
        "lr",
        "grad_norm",
        "clips_per_s",
        "data_wait_fraction",
        "skill",
        "skill_copy",
        "skill_mean",
    ),
    *("effective_rank", "effective_rank_pooled", "directions", "std_mean", "std_min", "corr_offdiag", "position_share"),
}  # or null; for loss/NAME and skill/HORIZON, the name before the slash


def log_rows(path: Path) -> tuple[list[Row], int]:
    """(rows, how many damaged ones are left out), which is also said on standard error.

    A row is damaged if it is no JSON object, or if a field that the report reads has a value of another type. A last line that
    was cut short does not count, since the run may be writing it. Raises EvalError for a file without any row.
    """
    written = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # before the rows: a run may append more meanwhile
    found: Sequence[Row] = read_rows(path)
    rows = [row for row in found if _is_update(row.get("step"))]
    lines = max(len(found), sum(bool(line) for line in written))
    if lines and not rows:
        raise EvalError(f"{path} is no log of a run: none of its lines is a JSON object with an update")
    kind, needed = KIND.get(path.stem, "step"), NEEDED.get(path.stem, set())
    of_kind = [row for row in rows if kind in row]
    whole = [row for row in of_kind if all(row.get(name) is not None for name in needed) and _is_well_formed(row)]
    damaged = lines - len(rows) + len(of_kind) - len(whole)
    if damaged:
        say(f"{path}: {damaged} damaged row(s) left out", file=sys.stderr)
    return whole, damaged


def _is_well_formed(row: Row) -> bool:
    return all(
        isinstance(value, str) if name in TEXTS else name.partition("/")[0] not in NUMBERS or value is None or is_number(value)
        for name, value in row.items()
    )


def is_number(value: Any) -> bool:
    """Whether it is a finite number that a figure can be drawn of."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_update(value: Any) -> bool:
    return isinstance(value, int) and is_number(value) and value >= 0
