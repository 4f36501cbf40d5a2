"""The numbers of a checkpoint that could predict its success: offline measures, health metrics and losses, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.planning.offline.measures import COPY, RECORDED
from worldmodel.files.log_rows import read_rows

TRAINING_STEP = "training step"
HEALTH = ("effective_rank", "std_min", "std_mean", "corr_offdiag", "position_fraction", "skill")
LOGGED_ROWS = 10  # of the training log, over which losses are averaged


def offline_numbers(offline: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of the offline measures of `eval plan` (eval.planning.offline.measures)."""
    found: dict[str, float | None] = {}
    if forecast := offline.get("forecast"):
        for index in sorted({0, len(forecast["horizons"]) - 1}):
            recorded, copied = (forecast["error"][name][index] for name in (RECORDED, COPY))
            if recorded is not None and copied is not None and copied["value"]:
                steps = forecast["horizons"][index]
                found[f"forecast error, {_steps(steps)}, relative to copying"] = recorded["value"] / copied["value"]
        found["use of the actions (1 - error / error when shuffled)"] = forecast["uses_actions"]["value"]
    for row in offline.get("action_rank", []):
        found[f"rank of the recorded actions, {_steps(row['horizon'])}"] = row["value"]
    for name, probe in offline.get("action_probe", {}).items():
        found[f"actions read from {name}, R2"] = probe["value"]
    for name, it in offline.get("reach", {}).items():
        found[f"reach against {name}, of the longest"] = None if it["reach"] is None else it["reach"] / it["longest"]
        found[f"rank correlation of the distance with {name}"] = it["rank_correlation"]["value"]
    for context, it in offline.get("permanence", {}).items():
        found[f"permanence, {context} frame{'s' if context != '1' else ''}"] = it["accuracy"]["value"]
    return _finite(found)


def health_numbers(run: Path, step: int) -> dict[str, float]:
    """The metrics of the health check at a training step; {} where the log has none."""
    rows = [row for row in read_rows(run / "health.jsonl") if row.get("step") == step]
    return _finite({name: rows[-1].get(name) for name in HEALTH}) if rows else {}


def losses(run: Path, step: int) -> dict[str, float]:
    """The terms of the loss, averaged over the last rows of the training log up to a step; {} where it has none."""
    rows = [row for row in read_rows(run / "metrics.jsonl") if row.get("step", math.inf) <= step][-LOGGED_ROWS:]
    names = [name for name in (rows[-1] if rows else {}) if name == "loss" or name.startswith("loss/")]
    return _finite({name: _mean([row.get(name) for row in rows]) for name in names})


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def _mean(values: Sequence[Any]) -> float | None:
    known = [value for value in values if isinstance(value, int | float)]
    return float(np.mean(known)) if known else None


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)}
