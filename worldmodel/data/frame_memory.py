"""Memory that this process shares with one data worker, so that frames do not travel through a pipe.

The memory is an anonymous file of Linux (`memfd_create`). It has no name, and the kernel frees it with the last process that
uses it, however that process ends. Other systems have pipes only. This module does not import torch.
"""

from __future__ import annotations

import mmap
import os
import weakref
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

_MAX_MAPPED = 64  # slots that a worker keeps mapped


@dataclass(frozen=True)
class Slot:
    """Memory of one micro-batch: a range of bytes of the file."""

    offset: int
    nbytes: int


class FrameMemory:
    """The side of the training process. Slots of one size are reused when nothing refers to their frames any more.

    max_slots: each slot in use takes a file descriptor, of which a process has a limited number.
    """

    def __init__(self, max_slots: int) -> None:
        self.descriptor: int | None = None
        if hasattr(os, "memfd_create"):
            with suppress(OSError):
                self.descriptor = os.memfd_create("worldmodel-frames")
        self._max_slots, self._end = max_slots, 0
        self._in_use: set[Slot] = set()
        self._free: list[tuple[Slot, mmap.mmap]] = []

    def allocate(self, nbytes: int) -> tuple[Slot, np.ndarray] | None:
        """A slot and its bytes, uint8 [nbytes]; None where memory cannot be shared."""
        if self.descriptor is None or len(self._in_use) >= self._max_slots:
            return None
        while self._free:
            slot, mapped = self._free.pop()
            if slot.nbytes == nbytes:
                return slot, self._lend(slot, mapped)
            with suppress(OSError):
                mapped.madvise(mmap.MADV_REMOVE)  # frees the pages of a size that is used no more
        slot = Slot(self._end, nbytes)
        size = -(-nbytes // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        try:
            os.ftruncate(self.descriptor, self._end + size)
            mapped = mmap.mmap(self.descriptor, nbytes, offset=self._end)
        except OSError:  # most often too many open files
            return None
        self._end += size
        return slot, self._lend(slot, mapped)

    def close(self) -> None:
        """Close the file. Frames that are still in use stay valid."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
        self._free.clear()

    def _lend(self, slot: Slot, mapped: mmap.mmap) -> np.ndarray:
        frames = np.frombuffer(mapped, np.uint8)
        self._in_use.add(slot)
        weakref.finalize(frames, self._take_back, slot, mapped).atexit = False
        return frames

    def _take_back(self, slot: Slot, mapped: mmap.mmap) -> None:
        self._in_use.discard(slot)
        if self.descriptor is not None:
            self._free.append((slot, mapped))


class WorkerMemory:
    """The side of the worker."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._mapped: dict[Slot, np.ndarray] = {}

    def part(self, slot: Slot, begin: int, nbytes: int) -> np.ndarray:
        """Bytes of a micro-batch, uint8 [nbytes], to write to."""
        if slot not in self._mapped:
            if len(self._mapped) >= _MAX_MAPPED:
                self._mapped.clear()
            mapped = mmap.mmap(self._descriptor, slot.nbytes, offset=slot.offset)
            self._mapped[slot] = np.frombuffer(mapped, np.uint8)
        return self._mapped[slot][begin : begin + nbytes]
