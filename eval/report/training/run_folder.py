"""A run's folder, read without its model: what it logged, what it was asked to do, and where its time went. No torch."""

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
from worldmodel.config.yaml_text import MAX_BYTES, read_yaml


@dataclass(frozen=True)
class Span:
    """Looks of the doctor, one after another, that gave one verdict; each speaks for the updates since the look before."""

    verdict: str
    start: int  # updates, half-open
    stop: int


@dataclass(frozen=True)
class Times:
    """Where the time went, after the first row: until then workers start."""

    total_s: float
    waiting_s: float  # for data
    looking_s: float  # held-out looks and checkpoints: by how much rows with one took longer than the others

    @property
    def waiting(self) -> float:
        return self.waiting_s / self.total_s

    @property
    def looking(self) -> float:
        return self.looking_s / self.total_s

    @property
    def computing(self) -> float:
        return max(0.0, 1 - self.waiting - self.looking)


@dataclass(frozen=True)
class Run:
    """What stands in a run's folder; any part of it may not be there yet."""

    folder: Path
    metrics: Sequence[Row]  # training rows
    health: Sequence[Row]
    bad_clips: Sequence[Row]
    recipe: Mapping[str, Any]
    recipe_text: str
    best: Row | None  # best.json
    state: Mapping[str, Any]  # of the last checkpoint
    written_s_ago: float | None  # the last row
    damaged: Mapping[str, int]  # log -> how many of its rows are left out

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def asked(self, path: str, default: Any = None) -> Any:
        """A field of the recipe by its dotted path."""
        node: Any = self.recipe
        for part in path.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return default if node is None else node

    @property
    def updates(self) -> int:
        return max((int(rows[-1]["step"]) for rows in (self.metrics, self.health) if rows), default=0)

    @property
    def planned(self) -> int | None:
        planned = self.asked("train.max_steps")
        return planned if isinstance(planned, int) else None

    @property
    def finished(self) -> bool:
        return self.planned is not None and self.updates >= self.planned

    @property
    def spans(self) -> list[Span]:
        found, start = [], 0
        for verdict, rows in groupby(self.health, lambda row: str(row["verdict"])):
            stop = int([row["step"] for row in rows][-1])
            found.append(Span(verdict, start, stop))
            start = stop
        return found

    @property
    def best_look(self) -> Row | None:
        """The look at the best checkpoint; where none is noted yet, the one with the highest skill."""
        if self.best is not None:
            at = int(self.best["checkpoint"])
            return next((row for row in self.health if row["step"] == at), None)
        told = [row for row in self.health if row.get("skill") is not None]
        return max(told, key=lambda row: float(row["skill"]), default=None)

    @property
    def horizons(self) -> list[str]:
        """In seconds, as rows name them, nearest first."""
        names = {key.partition("/")[2] for row in self.health for key in row if key.startswith("skill_copy/")}
        return sorted((name for name in names if _is_horizon(name)), key=float)

    @property
    def times(self) -> Times | None:
        """None before there are three rows."""
        looks = {int(row["step"]) for row in self.health}
        steps, waiting_s = [], 0.0  # of each row but the first: updates, seconds, whether a look lies in it
        for before, row in pairwise(self.metrics):
            first, last = int(before["step"]), int(row["step"])
            seconds = float(row["seconds"]) - float(before["seconds"])
            if last > first and seconds > 0:
                steps.append((last - first, seconds, any(update in looks for update in range(first, last))))
                waiting_s += seconds * float(row.get("data_wait_fraction") or 0)
        plain = [seconds / count for count, seconds, looked in steps if not looked]
        if len(steps) < 2:
            return None
        usual = statistics.median(plain) if plain else None
        extra = [max(0.0, seconds - usual * count) for count, seconds, looked in steps if looked and usual is not None]
        return Times(sum(seconds for _, seconds, _ in steps), waiting_s, sum(extra))


def open_run(folder: Path) -> Run:
    """Raises EvalError for a folder that is no run's, or rows that are none."""
    recipe = folder / "recipe.yaml"
    logs = {name: folder / f"{name}.jsonl" for name in ("metrics", "health", "bad_clips")}
    if not recipe.exists() and not logs["metrics"].exists():
        raise EvalError(
            f"{folder} is no run folder: no recipe.yaml and no metrics.jsonl in it; give the folder that the recipe calls run"
        )
    rows, damaged = {}, {}
    for name, path in logs.items():
        rows[name], damaged[path.name] = log_rows(path)
    text = _text(recipe) if recipe.exists() else ""
    written = [path.stat().st_mtime for path in logs.values() if path.exists()]
    return Run(
        folder,
        rows["metrics"],
        rows["health"],
        rows["bad_clips"],
        _recipe(text, recipe),
        text,
        _best(folder / "best.json"),
        _last_state(folder),
        time.time() - max(written) if written else None,
        {name: count for name, count in damaged.items() if count},
    )


def _is_horizon(name: str) -> bool:
    try:
        return is_number(float(name))
    except ValueError:
        return False


def _best(path: Path) -> Row | None:
    """None where there is no such file, or where it does not name a checkpoint and its skill."""
    best = _json(path) or {}
    return best if str(best.get("checkpoint")).isdecimal() and is_number(best.get("skill")) else None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1).decode("utf-8", errors="replace")


def _recipe(text: str, path: Path) -> Mapping[str, Any]:
    try:
        found = read_yaml(text)
    except ValueError as error:
        raise EvalError(f"{path}: {error}") from None
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> dict[str, Any] | None:
    """None where there is no such file, or a kill left half of one."""
    return read_json(path)


def _last_state(folder: Path) -> Mapping[str, Any]:
    """state.json of the last checkpoint that has one; its tensors are not looked at."""
    files = sorted((folder / "checkpoints").glob("[0-9]*/state.json"), reverse=True)
    return next((state for file in files if (state := _json(file)) is not None), {})
