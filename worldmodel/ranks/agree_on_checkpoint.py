"""Let all ranks resume from the same checkpoint, although hosts may see different states of network storage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from worldmodel.checkpoint import Checkpoint, CheckpointError, latest_checkpoint
from worldmodel.checkpoint.opening import find_damage
from worldmodel.checkpoint.state import State, read_state
from worldmodel.ranks.launch import run_on_main_process

VISIBILITY_TIMEOUT_S = 60.0  # for a checkpoint to become visible on every host
_RETRY_S = 1.0


def agreed_checkpoint(run: Path, accelerator: Accelerator, *, one_folder: bool = False) -> Checkpoint | None:
    """The last intact checkpoint of a run, as the main process sees it; None where there is none.

    The other ranks open the same checkpoint and wait until their host sees it. one_folder: all hosts
    see the same run folder, so each file is read and verified by one rank. Otherwise every rank
    verifies all files. Every rank must call it.

    Raises CheckpointError on every rank where the main process can open none, and on a rank that
    cannot open the same one.
    """
    if accelerator.num_processes == 1:
        return latest_checkpoint(run, warn=accelerator.print)
    helps = one_folder and not accelerator.is_main_process
    doubted = _verify_for_main_process(run, accelerator) if helps else None
    last = run_on_main_process(accelerator, lambda: _find_last(run, accelerator, one_folder))
    (chosen,) = broadcast_object_list([last and (last.folder.name, last.state)])
    if last is not None or chosen is None:
        return last
    name, state = chosen
    return _open_same(run / "checkpoints" / name, state, state["sha256"] if doubted is None else doubted)


def _find_last(run: Path, accelerator: Accelerator, one_folder: bool) -> Checkpoint | None:
    """The part of the main process. It verifies alone, or with the other ranks, and again what another rank doubts."""
    if not one_folder:
        return latest_checkpoint(run, warn=accelerator.print)

    def find_together(folder: Path, state: State) -> str | None:
        broadcast_object_list([(folder.name, state)])
        doubted = gather_object(_doubted_files(folder, state, 0, accelerator.num_processes))
        return find_damage(folder, state, doubted)

    try:
        return latest_checkpoint(run, warn=accelerator.print, find_damage=find_together)
    finally:
        broadcast_object_list([None])


def _verify_for_main_process(run: Path, accelerator: Accelerator) -> list[str]:
    """The part of the other ranks. Returns the files of the last checkpoint which this rank must look at once more."""
    doubted: list[str] = []
    while (asked := broadcast_object_list([None])[0]) is not None:
        name, state = asked
        doubted = _doubted_files(run / "checkpoints" / name, state, accelerator.process_index, accelerator.num_processes)
        gather_object(doubted)
    return doubted


def _doubted_files(folder: Path, state: State, rank: int, ranks: int) -> list[str]:
    """Those files of a rank's share which this host does not see intact now."""
    share = sorted(state["sha256"])[rank::ranks]
    try:
        return [] if find_damage(folder, state, share) is None else share
    except CheckpointError:  # storage cannot read them now
        return share


def _open_same(folder: Path, state: State, files: Sequence[str]) -> Checkpoint:
    """Open the checkpoint of the main process as soon as this host sees the same state, and these files intact."""
    until = time.monotonic() + VISIBILITY_TIMEOUT_S
    while True:
        try:
            if read_state(folder) != state:
                problem: str | None = "its state.json differs there"
            elif (problem := find_damage(folder, state, files)) is None:
                return Checkpoint(folder, state)
        except CheckpointError as error:
            problem = str(error)
        if time.monotonic() > until:
            raise CheckpointError(
                f"rank 0 resumes from {folder}, which this rank cannot open: {problem}. All hosts must see the same run folder"
            )
        time.sleep(_RETRY_S)
