"""Wait for micro-batches, with limits for workers that hang and for storage that is missing."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from worldmodel.data.batch import Batch, DataError, PendingBatch
from worldmodel.data.reading import RETRY_S, ReadFailure, read_with_signals
from worldmodel.process.clock import Clock
from worldmodel.process.terminal import escape_line

_POLL_S = 0.25  # between two checks of signals and limits while a micro-batch is waited for
_REPORT_AFTER_S = 3.0  # shorter interruptions of storage are not reported
_REPORT_EVERY_S = 60.0  # while storage is still missing


class Reader(Protocol):
    """Reads micro-batches in the order in which they are submitted."""

    def submit(self, pending: PendingBatch) -> None:
        """Start to read a micro-batch."""

    def wait(self, pending: PendingBatch, seconds: float) -> bool:
        """Wait up to `seconds` for a micro-batch; return whether it is complete. Raises DataError."""

    def current_file(self, pending: PendingBatch) -> str:
        """The file that is being read for a micro-batch; empty if that is not known."""

    def close(self) -> None:
        """Stop reading and end all worker processes."""


class InProcessReader:
    """Reads in this process, when a micro-batch is waited for (data.workers=0)."""

    def submit(self, pending: PendingBatch) -> None:
        """Prepare the memory: this reader does not read ahead."""
        pending.place_frames(None)

    def wait(self, pending: PendingBatch, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while pending.unread and time.monotonic() < deadline:
            index = next(iter(pending.unread))
            request, out = pending.request(index), pending.buffer(index)
            found = read_with_signals(request, out)
            if not isinstance(found, ReadFailure):
                pending.mark_read(index, found.signals, found.layout, found.through_container, found.masks)
                continue
            pending.mark_failed(index, found)
            if pending.missing_storage:
                time.sleep(RETRY_S)
        return not pending.unread

    def current_file(self, pending: PendingBatch) -> str:
        return ""

    def close(self) -> None:
        """Do nothing: this reader holds no resources."""


def warn(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class WaitLimits:
    """How long a micro-batch is waited for, and how the wait is reported and interrupted."""

    worker_timeout_s: float = 0.0  # for a worker that does not answer; 0 = no limit
    storage_wait_s: float = 0.0  # for missing storage
    report: Callable[[str], None] = warn
    stop_requested: Callable[[], bool] = lambda: False  # by the user
    single_rank: bool = True  # no other rank waits for this one


def wait_for_batch(reader: Reader, pending: PendingBatch, limits: WaitLimits) -> Batch | None:
    """Wait for a micro-batch. Return None if the user requested a stop meanwhile.

    Raises DataError when a limit is exceeded. Raises KeyboardInterrupt if the user requested a stop while storage was waited
    for and other ranks wait for this one: these are in the middle of a training step, so no state can be saved.
    """
    storage = _StorageWait(limits)
    # a single read of this process itself may take long
    clock = Clock(max_tick_s=math.inf) if isinstance(reader, InProcessReader) else Clock()
    waited_s = 0.0
    poll_s = min(_POLL_S, limits.worker_timeout_s or _POLL_S)
    while not reader.wait(pending, poll_s):
        passed_s = clock.tick()
        waited_s += passed_s
        if storage.is_missing(pending.missing_storage, passed_s):
            waited_s = 0.0
            if limits.stop_requested() and not limits.single_rank:
                raise KeyboardInterrupt
        if limits.stop_requested() and limits.single_rank:
            return None
        if limits.worker_timeout_s and waited_s > limits.worker_timeout_s:
            raise DataError(_timeout_message(limits.worker_timeout_s, reader.current_file(pending)))
    storage.is_missing(None, clock.tick())
    return pending.batch()


def _timeout_message(limit_s: float, path: str) -> str:
    at = f" while it reads {escape_line(path)}" if path else ""
    return (
        f"no batch within data.worker_timeout_s = {limit_s:g} s: a worker hangs{at}, or storage is slower than that. "
        "Raise the limit, or set data.workers=0 to find the file that blocks; the same command resumes from the last checkpoint"
    )


class _StorageWait:
    """One wait for missing storage. It is reported after some seconds, then every minute, and at its end."""

    def __init__(self, limits: WaitLimits) -> None:
        self._limit_s, self._report = limits.storage_wait_s, limits.report
        self._waited_s = 0.0
        self._reported_at_s: float | None = None  # waiting time at the last report
        self._folder = ""

    def is_missing(self, failure: ReadFailure | None, passed_s: float) -> bool:
        """Update the wait `passed_s` after the last call; return whether storage is missing. Raises DataError at the limit."""
        self._waited_s += passed_s
        if failure is None:
            if self._reported_at_s is not None:
                self._report(f"{self._folder} can be read again after {self._waited_s:.0f} s; training continues")
            self._reported_at_s, self._folder = None, ""
            return False
        if not self._folder:
            self._waited_s = 0.0
            self._folder = escape_line(failure.folder)
        if self._waited_s >= self._limit_s:
            waited = f"; waited {self._limit_s:g} s for it (data.storage_wait_s)" if self._limit_s else ""
            raise DataError(
                f"{self._description(failure)}{waited}. Check that its storage is mounted; then the same command "
                "resumes from the last checkpoint"
            )
        if self._reported_at_s is None and self._waited_s >= _REPORT_AFTER_S:
            self._reported_at_s = self._waited_s
            self._report(
                f"{self._description(failure)}. Waiting for it, at most {self._limit_s:g} s (data.storage_wait_s). No sample "
                "is replaced meanwhile"
            )
        elif self._reported_at_s is not None and self._waited_s - self._reported_at_s >= _REPORT_EVERY_S:
            self._reported_at_s = self._waited_s
            self._report(f"still waiting for {self._folder}: {self._waited_s:.0f} s of {self._limit_s:g} s")
        return True

    def _description(self, failure: ReadFailure) -> str:
        if failure.kind == "storage":
            return f"the storage of {self._folder} does not answer ({escape_line(failure.reason)})"
        return f"{self._folder} is missing, empty or not readable by this user ({escape_line(failure.reason)})"
