"""Resources of a process while it trains: the lock of the run folder, requests to stop, and the monitor of the other ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import Accelerator

from worldmodel.files.atomic import remove_parts
from worldmodel.files.folder_lock import FolderLock, lock_folder
from worldmodel.files.outputs import record_outputs
from worldmodel.ranks.launch import run_on_main_process
from worldmodel.ranks.monitor import RankMonitor
from worldmodel.ranks.start_monitors import monitor_ranks
from worldmodel.recipe import Recipe

ANOTHER_RUN = "give another run=FOLDER"
RUN_FILES = ("recipe.yaml", "metrics.jsonl", "health.jsonl", "bad_clips.jsonl", "best.json", "held_out.npz", "checkpoints")


@dataclass(frozen=True)
class Session:
    """Resources that this process holds from the start of a training to its end."""

    monitor: RankMonitor
    lock: FolderLock | None  # of the run folder; None on all processes but the main one
    allow_changed_recipe: bool = False
    stop: list[int] = field(default_factory=list)  # received signals, and 0 from the health monitor; not empty: stop


@contextmanager
def open_session(recipe: Recipe, accelerator: Accelerator, allow_changed_recipe: bool) -> Iterator[Session]:
    """Monitor the other ranks, and lock the run folder. A refused lock raises the same error on every process."""
    with monitor_ranks(accelerator, recipe.train.rank_timeout_s) as monitor, ExitStack() as stack:

        def lock() -> FolderLock:
            return stack.enter_context(_locked_run_folder(Path(recipe.run)))

        yield Session(monitor, run_on_main_process(accelerator, lock), allow_changed_recipe)


@contextmanager
def _locked_run_folder(run: Path) -> Iterator[FolderLock]:
    """Lock the run folder, remove files that a killed save left, and record the files of the run as written by training."""
    with lock_folder(run, ANOTHER_RUN) as lock:
        for folder in (run / "checkpoints", *run.glob("checkpoints/*")):
            remove_parts(folder)
        is_run = any((run / "checkpoints").glob("[0-9]*/state.json"))
        with record_outputs(run, RUN_FILES, ANOTHER_RUN, owned=is_run, lock=lock):
            yield lock
