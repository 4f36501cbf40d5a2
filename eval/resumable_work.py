"""Work in pieces, distributed over ranks. An interrupted command continues after the last finished piece.

The pieces are the same for any number of ranks, and each is computed by one rank, so
results are exactly equal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from data_prep.progress import bar
from eval.cache.sealed import discard, is_whole, seal
from worldmodel.process.terminal import print_escaped
from worldmodel.ranks.launch import MAIN_PROCESS_TIMEOUT
from worldmodel.ranks.rendezvous import init_method

RANK_TIMEOUT_S = 60.0  # a rank without a heartbeat for this long counts as lost
Piece = TypeVar("Piece")
Loaded = TypeVar("Loaded")


def start_ranks() -> PartialState:
    """Set up this process among the ranks.

    Several ranks without GPUs use gloo, which Accelerate does only for `cpu=True`.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # a long timeout, because ranks may have different amounts of work; `monitor_ranks` detects lost ranks
    return PartialState(cpu=several and not torch.cuda.is_available(), init_method=init_method(), timeout=MAIN_PROCESS_TIMEOUT)


def compute_pieces(
    what: str,
    pieces: Sequence[Piece],
    file_of: Callable[[int], Path],
    load: Callable[[Piece], Loaded],
    work: Callable[[Loaded, Path], None],
    ranks: PartialState,
) -> list[Path]:
    """Compute every piece whose file is missing. Returns all files once all ranks are done.

    what: name of the work for the progress bar. load: reads a piece while the previous one is
    computed. work: computes a piece and writes its file. A file that was cut off or changed since
    it was finished is computed again.
    """
    files = [file_of(index) for index in range(len(pieces))]
    if ranks.is_main_process:
        discard_damaged(files)
    missing = [index for index, file in enumerate(files) if not file.exists()]
    if ranks.num_processes > 1:
        (missing,) = broadcast_object_list([missing])  # what the main process sees
    mine = missing[ranks.process_index :: ranks.num_processes]
    if ranks.is_main_process and mine:
        with bar(what, len(mine)) as progress:
            for index, loaded in _load_ahead(pieces, mine, load):
                work(loaded, files[index])
                seal(files[index])
                progress.step()
    else:
        for index, loaded in _load_ahead(pieces, mine, load):
            work(loaded, files[index])
            seal(files[index])
    ranks.wait_for_everyone()
    return files


def discard_damaged(files: Sequence[Path]) -> None:
    """Remove files that changed since they were finished, so that they are computed again.

    Only one process may call this.
    """
    for file in files:
        if (whole := is_whole(file)) is not True:
            if whole is False:
                print_escaped(f"{file} was damaged or changed since it was written; it is computed again", file=sys.stderr)
            discard(file)


def _load_ahead(pieces: Sequence[Piece], mine: Sequence[int], load: Callable[[Piece], Loaded]) -> Iterator[tuple[int, Loaded]]:
    """(index, loaded piece) in order. The next piece is loaded in a thread meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        waiting = None
        for index in [*mine, None]:
            coming = (index, reader.submit(load, pieces[index])) if index is not None else None
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = coming
