"""Let all ranks resume from the same checkpoint, although hosts may see different states of network storage."""

from __future__ import annotations

import time
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from worldmodel.checkpoint import Checkpoint, CheckpointError, latest_checkpoint, open_checkpoint
from worldmodel.ranks.launch import run_on_main_process

VISIBILITY_TIMEOUT_S = 60.0  # for a checkpoint to become visible on every host
_RETRY_S = 1.0


def agreed_checkpoint(run: Path, accelerator: Accelerator) -> Checkpoint | None:
    """The last intact checkpoint of a run, as the main process sees it; None where there is none.

    The other ranks open the same checkpoint and wait until their host sees it. Raises CheckpointError
    on every rank where the main process can open none, and on a rank that cannot open the same one.
    """
    last = run_on_main_process(accelerator, lambda: latest_checkpoint(run, warn=accelerator.print))
    if accelerator.num_processes == 1:
        return last
    (chosen,) = broadcast_object_list([last and (last.folder.name, last.state)])
    if last is not None or chosen is None:
        return last
    name, state = chosen
    return _open_same(run / "checkpoints" / name, state)


def _open_same(folder: Path, state: object) -> Checkpoint:
    until = time.monotonic() + VISIBILITY_TIMEOUT_S
    while True:
        try:
            found = open_checkpoint(folder)
            if found.state == state:
                return found
            problem = "its state.json differs there"
        except CheckpointError as error:
            problem = str(error)
        if time.monotonic() > until:
            raise CheckpointError(
                f"rank 0 resumes from {folder}, which this rank cannot open: {problem}. All hosts must see the same run folder"
            )
        time.sleep(_RETRY_S)
