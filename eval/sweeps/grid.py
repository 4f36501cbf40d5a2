"""Many small trainings from one recipe.

Each cell is a run of `worldmodel.train` in its own run folder:

    OUT/runs/<variant>-seed<seed>/

A finished cell is not trained again, an interrupted one is resumed, and a cell that fails does not
stop the others.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eval.errors import EvalError
from worldmodel.checkpoint import Checkpoint, latest_checkpoint
from worldmodel.config import ConfigError, load_config, parse_config, save_config
from worldmodel.files.outputs import record_outputs
from worldmodel.process.terminal import print_escaped
from worldmodel.ranks.launch import resolve_precision
from worldmodel.recipe import Recipe, changed_fields
from worldmodel.runs.progress import format_duration
from worldmodel.runs.run_data import resolve_paths, same_path
from worldmodel.training.teacher import with_teacher


@dataclass(frozen=True)
class Cell:
    """One training: a variant of the recipe with one seed."""

    variant: str
    seed: int
    recipe: Recipe  # complete; `run` is the cell's folder

    @property
    def name(self) -> str:
        return Path(self.recipe.run).name

    @property
    def folder(self) -> Path:
        return Path(self.recipe.run)

    def checkpoint(self) -> Checkpoint | None:
        """The last checkpoint.

        Cells are compared after equally many steps, not each at its best.
        """
        return latest_checkpoint(self.folder)


def make_cells(
    recipe: Path, overrides: Sequence[str], variants: Mapping[str, Sequence[str]], seeds: Sequence[int], out: Path
) -> list[Cell]:
    """Combine each variant with each seed.

    All variants of a seed come first, so an interrupted sweep has all of them.

    A variant is a list of overrides of the recipe (`a.b=value`), applied after those of the whole
    sweep. Raises ConfigError with all problems of all variants, and EvalError where OUT holds a
    cell that was trained with other settings, before anything is trained.
    """
    load_config(Recipe, recipe, overrides)  # problems of all variants are reported once
    cells, problems = [], []
    for seed in seeds:
        for variant, own in variants.items():
            run = out / "runs" / f"{variant}-seed{seed}"
            try:
                complete = load_config(Recipe, recipe, [*overrides, *own, f"seed={seed}", f"run={run}"])
                cells.append(Cell(variant, seed, resolve_precision(complete)))
            except ConfigError as error:
                problems += [f"{variant}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    for cell in cells:
        _check_same_settings(cell)
    return cells


def train(cell: Cell) -> str:
    """Train one cell unless it is finished. Returns why it failed; empty if it did not fail."""
    with _sigterm_as_interrupt():
        return "" if finished(cell) else _train(cell)


def train_all(cells: Sequence[Cell]) -> dict[str, str]:
    """Train all unfinished cells one after another.

    Returns why cells failed, by the name of the cell.

    The output of the trainings is passed on. When this process is interrupted or terminated, the
    current training saves its state first.
    """
    waiting = [cell for cell in cells if not finished(cell)]
    failed: dict[str, str] = {}
    began = time.monotonic()
    for index, cell in enumerate(waiting):
        left_s = (time.monotonic() - began) / index * (len(waiting) - index) if index else None
        estimate = f", about {format_duration(left_s)} left" if left_s is not None else ""
        number = len(cells) - len(waiting) + index + 1
        print_escaped(f"--- {cell.name}: cell {number} of {len(cells)}{estimate}", flush=True)
        if reason := train(cell):
            failed[cell.name] = reason
    return failed


def finished(cell: Cell) -> bool:
    """Whether all steps are done, and the decoder is fitted where the recipe asks for one."""
    last = cell.checkpoint()
    if last is None or last.step < cell.recipe.train.max_steps:
        return False
    return not cell.recipe.decoder.max_steps or last.has("decoder")


def check_none_failed(failed: Mapping[str, str], cells: Sequence[Cell]) -> None:
    """Raise EvalError that names every cell that failed."""
    if failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise EvalError(
            f"{len(failed)} of {len(cells)} trainings failed, the others are finished: {reasons}. "
            "Correct the cause and run the same command again; it trains only these"
        )


def _check_same_settings(cell: Cell) -> None:
    last = cell.checkpoint()
    if last is None:
        return
    began = parse_config(Recipe, last.state["recipe"], source=f"{last.folder}/state.json")
    changes = changed_fields(began, with_teacher(resolve_paths(cell.recipe, last), last))
    before, now = began.data.manifests, cell.recipe.data.manifests
    if len(before) != len(now) or not all(same_path(last, *pair, cell.recipe) for pair in zip(before, now, strict=True)):
        changes.append(f"data.manifest: {', '.join(began.data.manifests)} -> {', '.join(cell.recipe.data.manifests)}")
    if changes:
        raise EvalError(
            f"{cell.recipe.run} was trained with other settings: {'; '.join(changes)}. Give another --out, or remove the folder"
        )


def _train(cell: Cell) -> str:
    """Run one training to its end. Returns why it is not finished; empty where it is.

    On KeyboardInterrupt it waits until the training has saved a checkpoint.
    """
    with record_outputs(cell.folder, ["recipe.yaml"], owned=cell.checkpoint() is not None):
        save_config(cell.recipe, cell.folder / "recipe.yaml")
    command = [sys.executable, "-m", "worldmodel.train", str(cell.folder / "recipe.yaml")]
    last_line = ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as training:
        assert training.stderr is not None
        try:
            for line in training.stderr:
                sys.stderr.write(line)
                last_line = line.strip() or last_line
            code = training.wait()
        except KeyboardInterrupt:
            training.send_signal(signal.SIGTERM)  # harmless where the terminal has interrupted the training already
            training.communicate()  # the training saves a checkpoint first
            raise
    if code:
        return last_line or f"it ended with exit code {code}"
    if finished(cell):
        return ""
    last = cell.checkpoint()
    done = last.step if last else 0
    return f"it ended after step {done} of {cell.recipe.train.max_steps}, by a signal or by health.stop_on"


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Handle SIGTERM, which a scheduler sends to this process alone, like an interrupt from the
    keyboard."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
