"""All ranks resume from the same checkpoint, although each of them may see another state of network storage."""

from __future__ import annotations

import time
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from worldmodel.checkpoint import Checkpoint, CheckpointError, latest, open_checkpoint
from worldmodel.process.launch import on_main_process

VISIBLE_S = 60.0  # for a checkpoint to become visible on every host
_RETRY_S = 1.0


def agreed_checkpoint(run: Path, accelerator: Accelerator) -> Checkpoint | None:
    """The last whole checkpoint of a run, as the main process sees it; None where there is none.

    The other ranks open that one and no other, and wait for it where their host does not see it yet. Raises CheckpointError on
    every rank where the main process finds none that can be opened, and on a rank that cannot open the same.
    """
    last = on_main_process(accelerator, lambda: latest(run, warn=accelerator.print))
    if accelerator.num_processes == 1:
        return last
    (chosen,) = broadcast_object_list([last and (last.folder.name, last.state)])
    if last is not None or chosen is None:
        return last
    name, state = chosen
    return _opened(run / "checkpoints" / name, state)


def _opened(folder: Path, state: object) -> Checkpoint:
    until = time.monotonic() + VISIBLE_S
    while True:
        try:
            found = open_checkpoint(folder)
            if found.state == state:
                return found
            problem = "its state.json is another one there"
        except CheckpointError as error:
            problem = str(error)
        if time.monotonic() > until:
            raise CheckpointError(
                f"rank 0 resumes from {folder}, which this rank cannot open: {problem}. All hosts must see the same run folder"
            )
        time.sleep(_RETRY_S)
