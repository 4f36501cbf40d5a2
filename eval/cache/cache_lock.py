"""A lock on one folder of the cache, so that parallel evaluations do not disturb each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from accelerate import PartialState

from worldmodel.files.folder_lock import FolderLockError, lock_folder
from worldmodel.process.terminal import print_escaped
from worldmodel.ranks.launch import MAIN_PROCESS_TIMEOUT, run_on_main_process

WAIT_S = MAIN_PROCESS_TIMEOUT.total_seconds() - 60  # the other ranks wait for the main process only a little longer
INSTEAD = "set XDG_CACHE_HOME to another folder"


@contextmanager
def cache_lock(folder: Path, what: str, ranks: PartialState) -> Iterator[None]:
    """Create a folder of the cache and hold its lock. Every rank must call this.

    The lock file is next to the folder, so that the folder can be removed while the lock is held.
    While another process holds the lock, this process prints a message and waits; it then finds
    finished results. what: name of the results in that message. Raises FolderLockError on every
    rank if the other process needs more than WAIT_S.
    """
    with ExitStack() as held:
        run_on_main_process(ranks, lambda: _acquire(held, folder, what))
        yield


def _acquire(held: ExitStack, folder: Path, what: str) -> None:
    name = f".{folder.name}.lock"
    try:
        held.enter_context(lock_folder(folder.parent, INSTEAD, name))
    except FolderLockError as error:
        print_escaped(f"{what}: another process computes the same; waiting until it has finished ({error})", file=sys.stderr)
        held.enter_context(lock_folder(folder.parent, INSTEAD, name, wait_s=WAIT_S))
    folder.mkdir(parents=True, exist_ok=True)
