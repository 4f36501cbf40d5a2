"""Wait for micro-batches, read by workers or by this process; limits for workers that hang and storage that is gone."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from worldmodel.data.batch import Batch, DataError, PendingBatch
from worldmodel.data.reading import RETRY_S, ReadFailure, read_window
from worldmodel.process.clock import Clock
from worldmodel.video.container.source import on_one_line

_LOOK_EVERY_S = 0.25  # for signals and limits, while a micro-batch is waited for
_QUIET_S = 3.0  # shorter interruptions are not reported; other micro-batches may still note that it was gone
_SAY_EVERY_S = 60.0  # that storage is still gone


class Reader(Protocol):
    """Reads micro-batches in the order in which they are submitted."""

    def submit(self, pending: PendingBatch) -> None: ...

    def wait(self, pending: PendingBatch, seconds: float) -> bool:
        """Wait until a micro-batch is complete, but not longer than that. Whether it is. Raises DataError."""

    def reading(self, pending: PendingBatch) -> str:
        """The file that the process in charge of a micro-batch reads now; empty where that is not known."""

    def close(self) -> None: ...


class InProcessReader:
    """Reads in this process when it is waited for (data.workers=0)."""

    def submit(self, pending: PendingBatch) -> None:
        """Nothing is read ahead."""

    def wait(self, pending: PendingBatch, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while pending.left and time.monotonic() < until:
            place = next(iter(pending.left))
            frames = read_window(pending.request(place))
            if isinstance(frames, np.ndarray):
                pending.room(place)[:] = frames.reshape(-1).data
                pending.read(place)
                continue
            pending.failed(place, frames)
            if pending.vanished:
                time.sleep(RETRY_S)
        return not pending.left

    def reading(self, pending: PendingBatch) -> str:
        return ""

    def close(self) -> None:
        """Nothing was opened."""


def warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Patience:
    """How long a micro-batch is waited for, and who is told."""

    worker_s: float = 0.0  # without storage being gone; 0 = for ever
    storage_s: float = 0.0  # for storage that is gone
    say: Callable[[str], None] = warn
    stopped: Callable[[], bool] = lambda: False  # whether the user asked for an end
    alone: bool = True  # no other rank waits for this one


def completed(reader: Reader, pending: PendingBatch, patience: Patience) -> Batch | None:
    """Wait for a micro-batch. None where the user asked for an end meanwhile.

    Raises DataError where a limit is exceeded, and KeyboardInterrupt where the user asked for an end while storage was waited
    for and other ranks wait for this one: they are within an update, so that the state cannot be saved.
    """
    storage = _StorageWait(patience)
    # a read of this process itself may take long
    clock = Clock(longest_s=math.inf) if isinstance(reader, InProcessReader) else Clock()
    waited_s = 0.0
    step_s = min(_LOOK_EVERY_S, patience.worker_s or _LOOK_EVERY_S)
    while not reader.wait(pending, step_s):
        passed_s = clock.tick()
        waited_s += passed_s
        if storage.goes_on(pending.vanished, passed_s):
            waited_s = 0.0
            if patience.stopped() and not patience.alone:
                raise KeyboardInterrupt
        if patience.stopped() and patience.alone:
            return None
        if patience.worker_s and waited_s > patience.worker_s:
            raise DataError(_hangs(patience.worker_s, reader.reading(pending)))
    storage.goes_on(None, clock.tick())
    return pending.batch()


def _hangs(limit_s: float, path: str) -> str:
    at = f" while it reads {on_one_line(path)}" if path else ""
    return (
        f"no batch within data.worker_timeout_s = {limit_s:g} s: a worker hangs{at}, or storage is slower than that. "
        "Raise the limit, or set data.workers=0 to find the file that blocks; the same command resumes from the last checkpoint"
    )


class _StorageWait:
    """The wait of a micro-batch for storage that is gone, told soon after its start, every minute and at its end."""

    def __init__(self, patience: Patience) -> None:
        self._limit_s, self._say = patience.storage_s, patience.say
        self._waited_s = 0.0
        self._said: float | None = None  # after how long the wait was last told
        self._what = ""

    def goes_on(self, vanished: ReadFailure | None, passed_s: float) -> bool:
        """Whether storage is gone, so many seconds after the last call. Raises DataError after the limit."""
        self._waited_s += passed_s
        if vanished is None:
            if self._said is not None:
                self._say(f"{self._what} can be read again after {self._waited_s:.0f} s; training goes on")
            self._said, self._what = None, ""
            return False
        if not self._what:
            self._waited_s = 0.0
            self._what = on_one_line(vanished.folder)
        if self._waited_s >= self._limit_s:
            waited = f"; waited {self._limit_s:g} s for it (data.storage_wait_s)" if self._limit_s else ""
            raise DataError(
                f"{self._gone(vanished)}{waited}. Is its storage mounted? Once it is there again, the same command resumes "
                "from the last checkpoint"
            )
        if self._said is None and self._waited_s >= _QUIET_S:
            self._said = self._waited_s
            self._say(
                f"{self._gone(vanished)}. Waiting for it, at most {self._limit_s:g} s (data.storage_wait_s). No sample is "
                "replaced meanwhile"
            )
        elif self._said is not None and self._waited_s - self._said >= _SAY_EVERY_S:
            self._said = self._waited_s
            self._say(f"still waiting for {self._what}: {self._waited_s:.0f} s of {self._limit_s:g} s")
        return True

    def _gone(self, vanished: ReadFailure) -> str:
        if vanished.kind == "storage":
            return f"the storage of {self._what} does not answer ({on_one_line(vanished.reason)})"
        return f"{self._what} is missing, empty or not readable by this user ({on_one_line(vanished.reason)})"
