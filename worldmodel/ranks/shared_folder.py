"""Whether all hosts see the same folder."""

from __future__ import annotations

import time
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from worldmodel.files.folder_lock import FolderLock
from worldmodel.files.lock_files import read_owner

VISIBILITY_TIMEOUT_S = 60.0  # for a lock to become visible on every host; network storage may show new files late
_RETRY_S = 1.0


def all_see_folder(folder: Path, lock: FolderLock | None, accelerator: Accelerator) -> bool:
    """Whether every rank sees the lock of the folder that the main process holds. Every rank must call it.

    Both the path of this rank and that of the main process must lead to the lock. lock: None on all other processes.
    """
    (held,) = broadcast_object_list([None if lock is None else (lock.path, lock.owner.token)])
    path, token = held
    paths = {path, folder / path.name}
    until = time.monotonic() + VISIBILITY_TIMEOUT_S
    while not (seen := all(_has_token(path, token) for path in paths)) and time.monotonic() < until:
        time.sleep(_RETRY_S)
    return all(gather_object([seen]))


def _has_token(path: Path, token: str) -> bool:
    try:
        owner = read_owner(path)
    except OSError:
        return False
    return owner is not None and owner.token == token
