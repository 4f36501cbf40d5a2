"""What two cores give to processes that share nothing: reading of videos, and a calculation that needs no memory.

Imported by benchmarks/workers.py. It does not import torch, so that its processes start soon.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.pool import Pool
from typing import Any

from worldmodel.video import read_frames
from worldmodel.video.container.timing import Timing

NUMBERS = 20_000_000  # that are added: about 0.3 s


@dataclass(frozen=True)
class Read:
    """The arguments of a call of `read_frames`."""

    path: str
    times_s: tuple[float, ...] | None
    indices: tuple[int, ...] | None
    size: int
    timing: Timing | None


def two_processes() -> AbstractContextManager[Pool]:
    """Two processes that wait for work."""
    return multiprocessing.get_context("spawn").Pool(2)


def speedup_of_reading(pool: Pool, reads: Sequence[Read]) -> float:
    """Wall time of one process for all reads / wall time of two, each with half of them."""
    half = len(reads) // 2
    return _wall_s(pool, read_all, [reads]) / _wall_s(pool, read_all, [reads[:half], reads[half:]])


def speedup_of_arithmetic(pool: Pool) -> float:
    """The same for the sum of NUMBERS numbers."""
    return _wall_s(pool, add, [NUMBERS]) / _wall_s(pool, add, [NUMBERS // 2] * 2)


def read_all(reads: Sequence[Read]) -> None:
    for it in reads:
        read_frames(it.path, times_s=it.times_s, indices=it.indices, size=it.size, timing=it.timing)


def add(count: int) -> None:
    sum(range(count))


def _wall_s(pool: Pool, work: Callable[[Any], None], parts: Sequence[Any]) -> float:
    """Wall time of the parts, each in a process of its own."""
    began = time.monotonic()
    pool.map(work, parts, chunksize=1)
    return time.monotonic() - began
