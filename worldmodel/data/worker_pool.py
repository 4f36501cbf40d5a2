"""Worker processes that read micro-batches ahead. A thread per worker receives what the worker sends.

Frames lie in memory without a name that a worker shares with this process, or travel through a pipe where a system has no
such memory. There are no named resources such as semaphores, so nothing is left behind when a group of processes is killed.
A worker that hangs cannot block this process: only its thread waits for it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable

from worldmodel.data.batch import DataError, PendingBatch
from worldmodel.data.frame_memory import FrameMemory, Slot
from worldmodel.data.reading import RETRY_S, ReadFailure, ReadRequest
from worldmodel.data.worker import Answer, Task
from worldmodel.data.worker_process import WorkerProcess, exit_message, start_thread
from worldmodel.process import interrupts
from worldmodel.process.exit_codes import exit_cause, is_crash

# Linux gives a pipe 64 kB unless more is requested, and 64 MB to all pipes of a user, of which half are left to others
_PIPE_BYTES, _ALL_PIPES_BYTES = 1 << 20, 32 << 20
_END_S = 2.0  # how long workers may take to end by themselves
_MAX_SLOTS = 256  # of shared memory, in all workers; further micro-batches travel through the pipes


class WorkerPool:
    """`count` workers; worker n % count reads micro-batch n."""

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._workers: list[_Worker] = []
        self.close = weakref.finalize(self, _close, self._workers)  # at the latest when the interpreter exits
        pipe_bytes = min(_PIPE_BYTES, _ALL_PIPES_BYTES // (count * int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        try:
            with interrupts.signals_blocked(multiprocessing=False):
                for _ in range(count):
                    self._workers.append(_Worker(self._notify, pipe_bytes, max(1, _MAX_SLOTS // count)))
        except BaseException:
            self.close()
            raise

    def submit(self, pending: PendingBatch) -> None:
        """Start to read a micro-batch."""
        self._worker_of(pending).submit(pending)

    def wait(self, pending: PendingBatch, seconds: float) -> bool:
        """Wait up to `seconds` for a micro-batch; return whether it is complete. Raises DataError."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or not pending.unread, seconds)
        if pending.unread and self._error:
            raise self._error
        return not pending.unread

    def current_file(self, pending: PendingBatch) -> str:
        """The file that is being read by the worker of a micro-batch; empty if that is not known."""
        return self._worker_of(pending).current_file()

    def _worker_of(self, pending: PendingBatch) -> _Worker:
        return self._workers[pending.number % len(self._workers)]

    def _notify(self, error: Exception | None) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()


def _close(workers: list[_Worker]) -> None:
    """End the workers. Those that do not end when their pipe closes, such as stopped ones, are killed."""
    for worker in workers:
        worker.close()
    deadline = time.monotonic() + _END_S
    still_running = [worker for worker in workers if not worker.wait_until(deadline)]
    for worker in still_running:
        worker.kill()
    deadline = time.monotonic() + 1.0
    for worker in still_running:
        worker.wait_until(deadline)  # a process that waits in the kernel for storage is left behind


class _Worker:
    """The micro-batches of one worker, and its process, which is restarted after a file made it crash."""

    def __init__(self, notify: Callable[[Exception | None], None], pipe_bytes: int, max_slots: int) -> None:
        self._notify, self._pipe_bytes = notify, pipe_bytes
        self._lock = threading.Lock()
        self._pending: dict[int, PendingBatch] = {}
        self._slots: dict[int, Slot | None] = {}  # of the same micro-batches
        self._memory = FrameMemory(max_slots)
        self._reading: tuple[int, int] | None = None  # (micro-batch, index) that the process reads now
        self._closing = False
        try:
            self._process = WorkerProcess(pipe_bytes, self._memory.descriptor)
            start_thread(self._receive, self._process)
        except BaseException:
            self._memory.close()
            raise

    def submit(self, pending: PendingBatch) -> None:
        slot, frames = self._memory.allocate(pending.nbytes) or (None, None)
        pending.place_frames(frames)
        with self._lock:
            self._pending[pending.number], self._slots[pending.number] = pending, slot
            self._send(pending.number, pending.requests())

    def current_file(self) -> str:
        reading = self._reading
        pending = None if reading is None else self._pending.get(reading[0])
        return "" if reading is None or pending is None else pending.request(reading[1]).path

    def close(self) -> None:
        self._closing = True
        if self._lock.acquire(timeout=1.0):  # at the exit of the interpreter a thread that runs no more may hold it
            try:
                self._process.close()
                self._memory.close()
            finally:
                self._lock.release()

    def wait_until(self, deadline: float) -> bool:
        return self._process.wait_until(deadline)

    def kill(self) -> None:
        self._process.kill()

    def _receive(self) -> None:
        """Run in a thread: handle answers until the worker ends."""
        try:
            while not self._closing:
                answer = self._process.answer()
                if answer is None:
                    self._restart()
                else:
                    self._handle(answer)
        except Exception as error:  # passed to the main thread, which would wait for ever otherwise
            if not self._closing:
                self._notify(error)

    def _handle(self, answer: Answer) -> None:
        pending, index = self._pending[answer.number], answer.index
        if answer.outcome is None:
            self._reading = (answer.number, index)
            return None
        if isinstance(answer.outcome, ReadFailure):
            self._reading = None
            pending.mark_failed(index, answer.outcome)
            again = tuple((i, pending.request(i)) for i in (index, *answer.skipped))
            with self._lock:
                self._send(pending.number, again, RETRY_S if pending.missing_storage else 0.0)
            return None
        if self._slots[answer.number] is None:
            try:
                self._process.read_into(pending.buffer(index)[: answer.outcome].data)
            except EOFError:  # the process ended while it sent the frames
                return self._restart()
        self._reading = None
        pending.mark_read(index, answer.signals, answer.layout, answer.through_container, answer.masks)
        if not pending.unread:
            with self._lock:
                del self._pending[pending.number], self._slots[pending.number]
            self._notify(None)
        return None

    def _restart(self) -> None:
        """Restart the process after a crash, without the file that caused it. Raises DataError for any other end."""
        code = self._process.exit_code()
        if self._closing:
            return
        cause = exit_cause(code)
        if not is_crash(cause) or self._reading is None:
            raise DataError(exit_message(code, cause))
        number, index = self._reading
        self._reading = None
        self._pending[number].mark_failed(index, ReadFailure("clip", f"the process that decoded it crashed ({cause})"))
        with self._lock:
            if self._closing:
                return
            with interrupts.signals_blocked(multiprocessing=False):
                self._process = WorkerProcess(self._pipe_bytes, self._memory.descriptor)
            for pending in self._pending.values():
                self._send(pending.number, pending.requests())

    def _send(self, number: int, windows: tuple[tuple[int, ReadRequest], ...], delay_s: float = 0.0) -> None:
        self._process.send(Task(number, windows, self._slots[number], delay_s))
