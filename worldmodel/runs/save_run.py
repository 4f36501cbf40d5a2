"""Saving of a training: its recipe before the first step, and its checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from accelerate.utils import broadcast_object_list, gather_object
from safetensors import SafetensorError

from worldmodel import checkpoint
from worldmodel.checkpoint import BackgroundWriting, CheckpointError, FileContent, NewCheckpoint
from worldmodel.config import save_config
from worldmodel.data.loader import Batch
from worldmodel.health.moments import NotFiniteError
from worldmodel.process.machine import describe_machine
from worldmodel.ranks.launch import run_on_main_process
from worldmodel.ranks.monitor import RankMonitor
from worldmodel.recipe import Recipe
from worldmodel.runs.held_out import save_held_out
from worldmodel.runs.run_log import RunLog
from worldmodel.runs.session import Session
from worldmodel.training.setup import TrainingSetup

Result = TypeVar("Result")


def save_recipe(recipe: Recipe, held_out: Batch, session: Session) -> None:
    """Write recipe.yaml and held_out.npz into the run folder; on the main process only."""
    if session.lock is None:
        return
    run = Path(recipe.run)
    session.lock.check()
    save_config(recipe, run / "recipe.yaml")
    save_held_out(run, held_out.frames, held_out.actions)


@dataclass(frozen=True)
class _Pending:
    """A checkpoint whose files are being written."""

    step: int
    new: NewCheckpoint | None  # None on all processes but the main one
    writing: BackgroundWriting


class CheckpointSaver:
    """Saves the checkpoints of a training. Every rank makes one, and calls its methods after the same steps.

    With `checkpoint.asynchronous`, `save` copies tensors to CPU memory and returns; a thread of each rank writes them. The
    checkpoint does not exist before `poll`, `finish` or the next `save` has found that all ranks have written their files: then
    the main process writes state.json and gives the folder its name. So at most one checkpoint is being written, and a rank
    that is killed meanwhile leaves the checkpoint before it. Threads do not communicate; only the main threads do.

    As a context manager it finishes the last checkpoint, also where the loss was not finite, which all ranks find together.
    """

    def __init__(self, setup: TrainingSetup, log: RunLog, monitor: RankMonitor) -> None:
        self._setup, self._log, self._monitor = setup, log, monitor
        self._run, self._config = Path(setup.recipe.run), setup.recipe.checkpoint
        self._pending: _Pending | None = None

    def save(self, step: int) -> None:
        """Save a checkpoint after `step`. Raises CheckpointError on every rank where any rank cannot write."""
        self.finish()
        setup, whole = self._setup, self._config.format == "single"
        if whole and not self._config.asynchronous:
            tensors = checkpoint.gather_tensors(setup.learner, setup.optimizers)  # collective: sharded weights are gathered
            self._complete(step, lambda: checkpoint.save_checkpoint(self._run, tensors, _state(setup, step, self._log)))
            return
        files = self._own_files(whole)
        if self._config.asynchronous:
            files = {name: content.copied_to_cpu() for name, content in files.items()}
        new = run_on_main_process(setup.accelerator, lambda: self._begin(step))
        (folder,) = broadcast_object_list([new.part if new else None])
        self._pending = _Pending(step, new, BackgroundWriting(folder, files))
        if not self._config.asynchronous:
            self.finish()

    def poll(self) -> None:
        """Complete the checkpoint that is being written if all ranks have written their files."""
        if self._pending is not None and all(self._gather(self._pending.writing.is_done)):
            self.finish()

    def finish(self) -> None:
        """Wait until the checkpoint that is being written, if any, is on disk."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        digests, problem = dict[str, str](), None
        try:
            digests = pending.writing.wait()
        except (OSError, SafetensorError) as error:
            problem = str(error)
        found = self._gather((digests, problem))
        self._complete(pending.step, lambda: _publish(self._run, pending, found))

    def _own_files(self, whole: bool) -> dict[str, FileContent]:
        setup, ranks = self._setup, self._setup.accelerator
        if not whole:
            return checkpoint.own_files(setup.learner, setup.optimizers, ranks.process_index, ranks.num_processes)
        files = checkpoint.whole_files(checkpoint.gather_tensors(setup.learner, setup.optimizers))
        return files if ranks.is_main_process else {}

    def _begin(self, step: int) -> NewCheckpoint:
        self._log.check_folder()
        try:
            return NewCheckpoint(self._run, _state(self._setup, step, self._log))
        except OSError as error:
            folder = checkpoint.checkpoint_folder(self._run, step)
            raise CheckpointError(checkpoint.write_failure_message(folder, error, self._run)) from error

    def _complete(self, step: int, publish: Callable[[], object]) -> None:
        """On the main process: publish a checkpoint, update best.json, and remove old checkpoints."""

        def write() -> None:
            self._log.check_folder()
            self._log.sync()
            publish()
            try:
                checkpoint.write_best(self._run)
            except OSError as error:
                path = self._run / "best.json"
                raise CheckpointError(checkpoint.write_failure_message(path, error, self._run)) from error
            checkpoint.prune(self._run, self._config.keep, step)

        run_on_main_process(self._setup.accelerator, write)
        self._monitor.set_checkpoint(checkpoint.checkpoint_folder(self._run, step))

    def _gather(self, value: Result) -> list[Result]:
        """The values of all ranks, in their order."""
        found: list[Result] = gather_object([value])
        return found

    def __enter__(self) -> CheckpointSaver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        alone = self._setup.accelerator.num_processes == 1 and isinstance(error, Exception)
        if error is None or isinstance(error, NotFiniteError) or alone:
            self.finish()


def _publish(run: Path, pending: _Pending, found: Sequence[tuple[dict[str, str], str | None]]) -> None:
    """Publish a checkpoint that all ranks have written: the digests of each rank's files, or its error."""
    assert pending.new is not None
    folder = checkpoint.checkpoint_folder(run, pending.step)
    try:
        with pending.new:
            for rank, (_, problem) in enumerate(found):
                if problem is not None:
                    raise OSError(f"rank {rank}: {problem}" if len(found) > 1 else problem)
            pending.new.publish({name: digest for digests, _ in found for name, digest in digests.items()})
    except OSError as error:
        raise CheckpointError(checkpoint.write_failure_message(folder, error, run)) from error


def _state(setup: TrainingSetup, step: int, log: RunLog) -> checkpoint.State:
    recipe, accelerator = setup.recipe, setup.accelerator
    return {
        "step": step,
        "samples": step * recipe.data.batch_size,
        "seconds": log.seconds,
        "skill": log.skill_at(step),
        "windows": setup.windows.sizes,
        "data": setup.windows.digests,
        "rows": log.rows,
        "machine": describe_machine(accelerator.device, accelerator.num_processes),
        "recipe": recipe.model_dump(mode="json"),
        "run_folder": os.path.abspath(recipe.run),
        "random": "no state is saved: all random numbers are functions of the recipe's seed and the training step",
    }
