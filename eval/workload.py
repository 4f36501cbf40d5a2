"""Work in pieces: each leaves a file, so that what was interrupted goes on, and ranks share it without communication.

Pieces are the same whatever the number of ranks, and each is worked on by one of them: results are equal exactly.
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
from worldmodel.process.launch import MAIN_ALONE
from worldmodel.process.terminal import say
from worldmodel.ranks.restart import init_method

SILENT_S = 60.0  # a rank that gives no sign of life for so long ends the others
Piece = TypeVar("Piece")
Loaded = TypeVar("Loaded")


def start_ranks() -> PartialState:
    """This process among others; several without GPUs talk over gloo, which Accelerate does only when told `cpu`."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # a rank may have much less to do than another, and all wait for the main one: silent ranks are noticed by `watched`
    return PartialState(cpu=several and not torch.cuda.is_available(), init_method=init_method(), timeout=MAIN_ALONE)


def share(
    what: str,
    pieces: Sequence[Piece],
    file_of: Callable[[int], Path],
    load: Callable[[Piece], Loaded],
    work: Callable[[Loaded, Path], None],
    ranks: PartialState,
) -> list[Path]:
    """Work on every piece whose file is not there yet; all files, in order, once all ranks are done.

    The next piece is loaded while one is worked on. A file that was cut or changed since it was finished is made again.
    """
    files = [file_of(index) for index in range(len(pieces))]
    if ranks.is_main_process:
        discard_damaged(files)
    missing = [index for index, file in enumerate(files) if not file.exists()]
    if ranks.num_processes > 1:
        (missing,) = broadcast_object_list([missing])  # those that the main process sees
    mine = missing[ranks.process_index :: ranks.num_processes]
    if ranks.is_main_process and mine:
        with bar(what, len(mine)) as progress:
            for index, loaded in _ahead(pieces, mine, load):
                work(loaded, files[index])
                seal(files[index])
                progress.step()
    else:
        for index, loaded in _ahead(pieces, mine, load):
            work(loaded, files[index])
            seal(files[index])
    ranks.wait_for_everyone()
    return files


def discard_damaged(files: Sequence[Path]) -> None:
    """Remove files that are not what was finished, so that they are made again. For one process alone."""
    for file in files:
        if (whole := is_whole(file)) is not True:
            if whole is False:
                say(f"{file} was damaged or changed since it was written; it is made again", file=sys.stderr)
            discard(file)


def _ahead(pieces: Sequence[Piece], mine: Sequence[int], load: Callable[[Piece], Loaded]) -> Iterator[tuple[int, Loaded]]:
    with ThreadPoolExecutor(1) as reader:
        waiting = None
        for index in [*mine, None]:
            coming = (index, reader.submit(load, pieces[index])) if index is not None else None
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = coming
