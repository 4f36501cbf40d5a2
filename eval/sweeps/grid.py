"""Many small trainings from one recipe: each cell is a run of `worldmodel.train` in a folder of its own.

    OUT/runs/<name>-seed<seed>/        a run folder like any other

A cell that is finished is not trained again, one that was interrupted goes on, and one that fails stops no other.
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
from worldmodel.checkpoint import Checkpoint, latest
from worldmodel.config import ConfigError, load, parse, save
from worldmodel.files.outputs import writing
from worldmodel.process.launch import with_precision
from worldmodel.process.terminal import say
from worldmodel.recipe import Recipe, changed_fields
from worldmodel.runs.progress import duration
from worldmodel.runs.run_data import same_path, settled
from worldmodel.training.teacher import resolved


@dataclass(frozen=True)
class Cell:
    """One training: a variant of the recipe, with one seed."""

    variant: str
    seed: int
    recipe: Recipe  # complete; `run` is the cell's folder

    @property
    def name(self) -> str:
        return Path(self.recipe.run).name

    def checkpoint(self) -> Checkpoint | None:
        """The last one. Cells are compared after equally many updates, not each at its best."""
        return latest(Path(self.recipe.run))


def cells_of(
    recipe: Path, overrides: Sequence[str], variants: Mapping[str, Sequence[str]], seeds: Sequence[int], out: Path
) -> list[Cell]:
    """Each variant with each seed, all variants of a seed first, so that a grid cut short compares them all.

    A variant is overrides of the recipe (`a.b=value`), laid over those of the whole grid. Raises ConfigError for all that is
    wrong with any of them, EvalError where OUT holds a cell that was begun otherwise: before anything is trained.
    """
    load(Recipe, recipe, overrides)  # what is wrong with all of them is said once
    cells, problems = [], []
    for seed in seeds:
        for variant, own in variants.items():
            run = out / "runs" / f"{variant}-seed{seed}"
            try:
                said = load(Recipe, recipe, [*overrides, *own, f"seed={seed}", f"run={run}"])
                cells.append(Cell(variant, seed, with_precision(said)))
            except ConfigError as error:
                problems += [f"{variant}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    for cell in cells:
        _check_begun_alike(cell)
    return cells


def train(cell: Cell) -> str:
    """Train one cell unless it is finished; why it failed, empty where it did not."""
    with _terminating_interrupts():
        return "" if finished(cell) else _train(cell)


def train_all(cells: Sequence[Cell]) -> dict[str, str]:
    """Train what is not finished, one cell after another with all threads; why each cell that failed did, by its name.

    What a training prints is passed on. Interrupted (or told to terminate), the training that runs saves its state first.
    """
    waiting = [cell for cell in cells if not finished(cell)]
    failed: dict[str, str] = {}
    began = time.monotonic()
    for place, cell in enumerate(waiting):
        left = (time.monotonic() - began) / place * (len(waiting) - place) if place else None
        beside = f", about {duration(left)} left" if left is not None else ""
        number = len(cells) - len(waiting) + place + 1
        say(f"--- {cell.name}: cell {number} of {len(cells)}{beside}", flush=True)
        if why := train(cell):
            failed[cell.name] = why
    return failed


def finished(cell: Cell) -> bool:
    """All its updates are done, and its decoder is there where it shall have one."""
    last = cell.checkpoint()
    if last is None or last.update < cell.recipe.train.max_steps:
        return False
    return not cell.recipe.decoder.max_steps or last.has("decoder")


def check_none_failed(failed: Mapping[str, str], cells: Sequence[Cell]) -> None:
    """Raise EvalError that names every cell that failed."""
    if failed:
        told = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise EvalError(
            f"{len(failed)} of {len(cells)} trainings failed, the others are finished: {told}. "
            "Mend it, then the same command again: it trains these alone"
        )


def _check_begun_alike(cell: Cell) -> None:
    last = cell.checkpoint()
    if last is None:
        return
    began = parse(Recipe, last.state["recipe"], where=f"{last.folder}/state.json")
    changes = changed_fields(began, resolved(settled(cell.recipe, last), last))
    before, now = began.data.manifests, cell.recipe.data.manifests
    if len(before) != len(now) or not all(same_path(last, *pair, cell.recipe) for pair in zip(before, now, strict=True)):
        changes.append(f"data.manifest: {', '.join(began.data.manifests)} -> {', '.join(cell.recipe.data.manifests)}")
    if changes:
        raise EvalError(f"{cell.recipe.run} was trained otherwise: {'; '.join(changes)}. Give another --out, or remove it")


def _train(cell: Cell) -> str:
    """Run one training to its end; why it is not finished, empty where it is. KeyboardInterrupt waits for its checkpoint."""
    run = Path(cell.recipe.run)
    with writing(run, ["recipe.yaml"], ours=cell.checkpoint() is not None):
        save(cell.recipe, run / "recipe.yaml")
    words = [sys.executable, "-m", "worldmodel.train", str(run / "recipe.yaml")]
    last_words = ""
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, errors="replace") as training:
        assert training.stderr is not None
        try:
            for line in training.stderr:
                sys.stderr.write(line)
                last_words = line.strip() or last_words
            code = training.wait()
        except KeyboardInterrupt:
            training.send_signal(signal.SIGTERM)  # after an interrupt of the terminal it has heard already: no harm
            training.communicate()  # it writes a checkpoint first
            raise
    if code:
        return last_words or f"it ended with code {code}"
    if finished(cell):
        return ""
    last = cell.checkpoint()
    done = last.update if last else 0
    return f"it ended after update {done} of {cell.recipe.train.max_steps}, by a signal or by health.stop_on"


@contextmanager
def _terminating_interrupts() -> Iterator[None]:
    """SIGTERM, which a scheduler sends to this process alone, is passed on like an interrupt from the keyboard."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
