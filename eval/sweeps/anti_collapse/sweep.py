"""Train and evaluate each anti-collapse method with each seed.

A cell is one method with one seed: `worldmodel/train.py`, then `eval voe`, `eval probe` and `eval
forecast` on the last checkpoint, in OUT/runs/<method>-seed<seed>. The results are written after
every cell.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from eval.errors import EvalError
from eval.sweeps.anti_collapse.results import CellResults, SweepResults, agreement, read_cell, summarise
from eval.sweeps.anti_collapse.tables import write_results
from eval.sweeps.config import SweepConfig
from eval.sweeps.grid import Cell, check_none_failed, make_cells, train
from worldmodel.config import Config
from worldmodel.files.atomic import write_json
from worldmodel.process.git_commit import current_commit
from worldmodel.process.terminal import print_escaped
from worldmodel.runs.progress import format_duration
from worldmodel.storage.secrets import recorded_command

RESULT_FILES = {"voe": "scores.json", "probe": "probe.json", "forecast": "forecast.json"}  # by command of eval
RunCommand = Callable[[str, list[str]], None]
"""Run a command of eval in this process: its name and arguments."""


class SuiteConfig(Config):
    """Videos of the physics world on which all cells are evaluated."""

    folder: str
    """folder with suite.parquet, quads.parquet and calibration.parquet"""
    make: tuple[str, ...] = ()
    """arguments of `python -m data_prep` that make the videos where they are missing"""


class AntiCollapseConfig(SweepConfig):
    """Sweep over anti-collapse methods."""

    kind: Literal["anti_collapse"] = "anti_collapse"
    horizons_s: tuple[float, ...] = Field((0.33, 0.67, 1.0), min_length=1)
    """horizons of forecasts, seconds after the context"""
    folds: int = Field(5, ge=2)
    """folds of cross-validation of the probes"""
    suite: SuiteConfig
    """the videos of the evaluation"""
    methods: dict[str, tuple[str, ...]] = Field(min_length=1)
    """by name, further overrides of the recipe"""

    @field_validator("methods")
    @classmethod
    def _check_names(cls, methods: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if bad := [name for name in methods if not name.isidentifier()]:
            names = ", ".join(map(repr, bad))
            raise ValueError(f"{names}: a name must be letters, digits and underscores, because folders are named after it")
        return methods


def sweep_methods(config: AntiCollapseConfig, recipe: Path, out: Path, device: str, run_command: RunCommand) -> int:
    """Train and evaluate all cells into OUT, whose lock is held.

    Raises EvalError where a cell failed, after all others.
    """
    cells = make_cells(recipe, config.overrides, config.methods, config.seeds, out)
    make_missing_videos(config.suite)
    began, failed = time.monotonic(), {}
    for number, cell in enumerate(cells, 1):
        print_escaped(f"\n[{number} of {len(cells)}] {cell.name}", flush=True)
        if reason := train(cell) or evaluate(config, cell, device, run_command):
            failed[cell.name] = reason  # the others still run
        write_finished(config, cells, out)
        spent_s = time.monotonic() - began
        left_s = spent_s / number * (len(cells) - number)
        print_escaped(f"{format_duration(spent_s)}, about {format_duration(left_s)} left", flush=True)
    if (table := out / "sweep.md").exists():
        print_escaped("\n" + table.read_text(encoding="utf-8"))
    check_none_failed(failed, cells)
    return 0


def make_missing_videos(suite: SuiteConfig) -> None:
    """Make the videos of the suite if they are missing.

    Raises EvalError if that is impossible or fails.
    """
    names = ("suite.parquet", "quads.parquet", "calibration.parquet")
    missing = [name for name in names if not (Path(suite.folder) / name).exists()]
    if not missing:
        return
    if not suite.make:
        raise EvalError(
            f"{suite.folder} has no {', '.join(missing)}; make it with `python -m data_prep synthesize`, or set suite.make"
        )
    if subprocess.run([sys.executable, "-m", "data_prep", *suite.make], check=False).returncode:
        raise EvalError(f"`python -m data_prep {' '.join(suite.make)}` failed; see its message above")


def evaluate(config: AntiCollapseConfig, cell: Cell, device: str, run_command: RunCommand) -> str:
    """Run the three evaluations of the last checkpoint, except those that are finished.

    Returns the reason of a failure, else "".

    The last checkpoint is used for all cells, so they are compared after equally many steps,
    whatever their health. The output of the evaluations goes to evaluation.log.
    """
    last = cell.checkpoint()
    assert last is not None
    videos, model = config.suite.folder, ["--model", str(last.folder), "--device", device]
    possible = ["--data", f"{videos}/calibration.parquet", "--folds", str(config.folds)]
    horizons = ",".join(f"{horizon:g}" for horizon in config.horizons_s)
    arguments = {
        "voe": ["--suite", f"builtin:{videos}", "--untrained-seeds", "1"],
        "probe": [*possible, "--horizons", horizons, "--only", "position"],  # all properties would take minutes
        "forecast": possible,
    }
    for command, result in RESULT_FILES.items():
        out = cell.folder / command
        if not (out / result).exists():
            with output_to(cell.folder / "evaluation.log"):
                try:
                    run_command(command, [*model, *arguments[command], "--out", str(out)])
                except EvalError as error:
                    return f"eval {command}: {error}"
    return ""


@contextlib.contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Append all standard output to a file.

    Progress bars, which are on standard error, are still shown.
    """
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            yield
    finally:
        with log.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())


def write_finished(config: AntiCollapseConfig, cells: Sequence[Cell], out: Path) -> None:
    """Write OUT/sweep.json, .csv, .md and .png of the cells that are trained and evaluated."""
    rows: list[CellResults] = [
        {"method": cell.variant, "seed": cell.seed, **read_cell(cell.folder, config.horizons_s)}
        for cell in cells
        if all((cell.folder / command / result).exists() for command, result in RESULT_FILES.items())
    ]
    if not rows:
        return
    found: SweepResults = {
        "kind": config.kind,
        "command": "python -m eval " + recorded_command(sys.argv[1:]),
        "commit": current_commit(),
        "config": config.model_dump(mode="json"),
        "cells": rows,
        "methods": summarise(rows),
        "agreement": agreement(rows),
    }
    write_json(out / "sweep.json", found)
    write_results(out, found)
