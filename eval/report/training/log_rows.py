"""Valid rows of the logs of a run; damaged rows are left out and counted. Does not import torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.errors import EvalError
from worldmodel.files.log_rows import read_rows
from worldmodel.process.terminal import print_escaped

Row = Mapping[str, Any]
LARGEST = 3.5e38  # no float32 is larger, and matplotlib fails near the largest float64
KIND = {"metrics": "loss", "health": "verdict"}  # log -> a field that its rows have; rows without it are of another kind
REQUIRED = {  # log -> fields that must have a value
    "metrics": {"samples", "seconds"},
    "health": {"verdict"},
    "bad_clips": {"path", "reason"},
}
TEXTS = {"verdict"}
NUMBERS = {  # or null; of loss/NAME and skill/HORIZON, the name before the slash
    *("samples", "seconds", "loss", "lr", "grad_norm", "samples_per_s", "data_wait_fraction"),
    *("skill", "skill_copy", "skill_mean", "effective_rank", "effective_rank_with_position", "max_rank"),
    *("std_mean", "std_min", "corr_offdiag", "position_fraction"),
}


def log_rows(path: Path) -> tuple[list[Row], int]:
    """(valid rows, number of damaged rows). The number is also printed on standard error.

    A row is damaged if it is no JSON object, or if a field that the report reads has a value of another type. A truncated last
    line is not counted, because the run may be writing it. Raises EvalError for a file without any row.
    """
    written = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # read before the rows: a run may append more
    found: Sequence[Row] = read_rows(path)
    rows = [row for row in found if _is_step(row.get("step"))]
    lines = max(len(found), sum(bool(line) for line in written))
    if lines and not rows:
        raise EvalError(f"{path} is no log of a run: none of its lines is a JSON object with a step")
    kind, required = KIND.get(path.stem, "step"), REQUIRED.get(path.stem, set())
    of_kind = [row for row in rows if kind in row]
    valid = [row for row in of_kind if all(row.get(name) is not None for name in required) and _is_well_formed(row)]
    damaged = lines - len(rows) + len(of_kind) - len(valid)
    if damaged:
        print_escaped(f"{path}: {damaged} damaged row(s) left out", file=sys.stderr)
    return valid, damaged


def _is_well_formed(row: Row) -> bool:
    return all(
        isinstance(value, str) if name in TEXTS else name.partition("/")[0] not in NUMBERS or value is None or is_number(value)
        for name, value in row.items()
    )


def is_number(value: Any) -> bool:
    """Whether it is a finite number that a figure can show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and is_number(value) and value >= 0
