"""Resources of a process while it trains: the lock of the run folder, its upload, requests to stop, the monitor of ranks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
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
from worldmodel.storage.cache import cache_folder
from worldmodel.storage.transfer import folder_url
from worldmodel.storage.urls import is_url
from worldmodel.uploads.identity import IDENTITY
from worldmodel.uploads.run_upload import RunUpload, upload_run

ANOTHER_RUN = "give another run=FOLDER"
RUN_FILES = ("recipe.yaml", "metrics.jsonl", "health.jsonl", "bad_clips.jsonl", "best.json", "held_out.npz", "checkpoints")


@dataclass(frozen=True)
class Session:
    """Resources that this process holds from the start of a training to its end."""

    monitor: RankMonitor
    lock: FolderLock | None  # of the run folder; None on all processes but the main one
    allow_changed_recipe: bool = False
    stop: list[int] = field(default_factory=list)  # received signals, and 0 from health monitor or upload; not empty: stop
    upload: RunUpload | None = None  # of the run folder; on the main process, where the recipe has upload_to


def with_local_run(recipe: Recipe) -> Recipe:
    """Give a run at a URL its local folder, below the folder of the cache, from which it is uploaded to the URL."""
    if not is_url(recipe.run):
        return recipe
    url = folder_url(recipe.run)
    local = cache_folder() / "runs" / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rpartition("/")[2]
    return recipe.model_copy(update={"run": str(local), "upload_to": url})


@contextmanager
def open_session(recipe: Recipe, accelerator: Accelerator, allow_changed_recipe: bool) -> Iterator[Session]:
    """Monitor the other ranks, lock the run folder, and begin its upload.

    A refused lock raises the same error on every process. The end of the block waits for the upload.
    """
    run, stop = Path(recipe.run), list[int]()
    with monitor_ranks(accelerator, recipe.train.rank_timeout_s) as monitor, ExitStack() as stack:

        def begin() -> tuple[FolderLock, RunUpload | None]:
            url = recipe.upload_to
            lock = stack.enter_context(_locked_run_folder(run, () if url is None else (IDENTITY,)))
            if url is None:
                return lock, None
            return lock, stack.enter_context(upload_run(run, folder_url(url), recipe.checkpoint.keep, stop))

        lock, upload = run_on_main_process(accelerator, begin) or (None, None)
        yield Session(monitor, lock, allow_changed_recipe, stop, upload)


@contextmanager
def _locked_run_folder(run: Path, more_files: Sequence[str]) -> Iterator[FolderLock]:
    """Lock the run folder, remove files that a killed save left, and record the files of the run as written by training."""
    with lock_folder(run, ANOTHER_RUN) as lock:
        for folder in (run / "checkpoints", *run.glob("checkpoints/*")):
            remove_parts(folder)
        is_run = any((run / "checkpoints").glob("[0-9]*/state.json"))
        with record_outputs(run, (*RUN_FILES, *more_files), ANOTHER_RUN, owned=is_run, lock=lock):
            yield lock
