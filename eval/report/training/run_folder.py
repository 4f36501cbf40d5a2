"""A run folder, read without its model: logs, recipe, and where the time went. Does not import torch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from eval.errors import EvalError
from eval.report.training.log_rows import Row, is_number, log_rows
from eval.result_folder import read_json
from worldmodel.config.renamed import with_new_keys
from worldmodel.config.yaml_text import MAX_BYTES, read_yaml


@dataclass(frozen=True)
class Span:
    """Successive health checks with the same verdict. Each covers the steps since the check before it."""

    verdict: str
    start: int  # steps, half-open
    stop: int


@dataclass(frozen=True)
class Times:
    """Where the time went after the first row of metrics, which includes the start of the workers."""

    total_s: float
    waiting_s: float  # for data
    checking_s: float  # health checks and checkpoints: the extra time of rows with one, compared with the others

    @property
    def waiting(self) -> float:
        return self.waiting_s / self.total_s

    @property
    def checking(self) -> float:
        return self.checking_s / self.total_s

    @property
    def computing(self) -> float:
        return max(0.0, 1 - self.waiting - self.checking)


@dataclass(frozen=True)
class Run:
    """The contents of a run folder; any part may be missing."""

    folder: Path
    metrics: Sequence[Row]  # training rows
    health: Sequence[Row]
    bad_clips: Sequence[Row]
    recipe: Mapping[str, Any]
    recipe_text: str
    best: Row | None  # best.json
    state: Mapping[str, Any]  # of the last checkpoint
    written_s_ago: float | None  # the last row
    damaged: Mapping[str, int]  # log -> number of rows that are left out

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def recipe_value(self, path: str, default: Any = None) -> Any:
        """A field of the recipe by its dotted path."""
        node: Any = self.recipe
        for part in path.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return default if node is None else node

    @property
    def steps(self) -> int:
        """Number of training steps so far."""
        return max((int(rows[-1]["step"]) for rows in (self.metrics, self.health) if rows), default=0)

    @property
    def max_steps(self) -> int | None:
        planned = self.recipe_value("train.max_steps")
        return planned if isinstance(planned, int) else None

    @property
    def finished(self) -> bool:
        return self.max_steps is not None and self.steps >= self.max_steps

    @property
    def spans(self) -> list[Span]:
        found, start = [], 0
        for verdict, rows in groupby(self.health, lambda row: str(row["verdict"])):
            stop = int([row["step"] for row in rows][-1])
            found.append(Span(verdict, start, stop))
            start = stop
        return found

    @property
    def best_check(self) -> Row | None:
        """The health check at the best checkpoint; without best.json, the one with the highest skill."""
        if self.best is not None:
            step = int(self.best["checkpoint"])
            return next((row for row in self.health if row["step"] == step), None)
        with_skill = [row for row in self.health if row.get("skill") is not None]
        return max(with_skill, key=lambda row: float(row["skill"]), default=None)

    @property
    def horizons(self) -> list[str]:
        """Horizons in seconds, as they are named in the rows, ascending."""
        names = {key.partition("/")[2] for row in self.health for key in row if key.startswith("skill_copy/")}
        return sorted((name for name in names if _is_horizon(name)), key=float)

    @property
    def times(self) -> Times | None:
        """None with fewer than three rows."""
        checks = {int(row["step"]) for row in self.health}
        intervals, waiting_s = [], 0.0  # of each row but the first: (steps, seconds, whether it includes a health check)
        for before, row in pairwise(self.metrics):
            first, last = int(before["step"]), int(row["step"])
            seconds = float(row["seconds"]) - float(before["seconds"])
            if last > first and seconds > 0:
                intervals.append((last - first, seconds, any(step in checks for step in range(first, last))))
                waiting_s += seconds * float(row.get("data_wait_fraction") or 0)
        plain = [seconds / count for count, seconds, has_check in intervals if not has_check]
        if len(intervals) < 2:
            return None
        step_s = statistics.median(plain) if plain else None
        extra = [
            max(0.0, seconds - step_s * count) for count, seconds, has_check in intervals if has_check and step_s is not None
        ]
        return Times(sum(seconds for _, seconds, _ in intervals), waiting_s, sum(extra))


def open_run(folder: Path) -> Run:
    """Read a run folder. Raises EvalError if the folder is no run folder, or its logs are no logs."""
    recipe = folder / "recipe.yaml"
    logs = {name: folder / f"{name}.jsonl" for name in ("metrics", "health", "bad_clips")}
    if not recipe.exists() and not logs["metrics"].exists():
        raise EvalError(
            f"{folder} is no run folder: it contains no recipe.yaml and no metrics.jsonl; "
            "give the folder that the recipe names as run"
        )
    rows, damaged = {}, {}
    for name, path in logs.items():
        rows[name], damaged[path.name] = log_rows(path)
    text = _text(recipe) if recipe.exists() else ""
    written = [path.stat().st_mtime for path in logs.values() if path.exists()]
    return Run(
        folder=folder,
        metrics=rows["metrics"],
        health=rows["health"],
        bad_clips=rows["bad_clips"],
        recipe=_recipe(text, recipe),
        recipe_text=text,
        best=_best(folder / "best.json"),
        state=_last_state(folder),
        written_s_ago=time.time() - max(written) if written else None,
        damaged={name: count for name, count in damaged.items() if count},
    )


def _is_horizon(name: str) -> bool:
    try:
        return is_number(float(name))
    except ValueError:
        return False


def _best(path: Path) -> Row | None:
    """None if the file is missing, or does not name a checkpoint and its skill."""
    best = read_json(path) or {}
    return best if str(best.get("checkpoint")).isdecimal() and is_number(best.get("skill")) else None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1).decode("utf-8", errors="replace")


def _recipe(text: str, path: Path) -> Mapping[str, Any]:
    try:
        found = read_yaml(text)
    except ValueError as error:
        raise EvalError(f"{path}: {error}") from None
    return with_new_keys(found) if isinstance(found, dict) else {}  # a run of an earlier version has old keys


def _last_state(folder: Path) -> Mapping[str, Any]:
    """state.json of the last checkpoint that has one; tensors are not read."""
    files = sorted((folder / "checkpoints").glob("[0-9]*/state.json"), reverse=True)
    return next((state for file in files if (state := read_json(file)) is not None), {})
