"""Worker processes that read micro-batches ahead, each with a thread here that takes in what it sends.

Frames travel through pipes. Nothing that has a name (semaphores, shared memory) exists, so that nothing stays behind when a
group of processes is killed. A worker that hangs cannot block this process: only the threads wait for it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

from worldmodel import interrupts
from worldmodel.data.batch import DataError, PendingBatch
from worldmodel.data.reading import RETRY_S, ReadFailure
from worldmodel.data.worker import LENGTH, Answer, Task

_PIPE_BYTES = 1 << 20  # for frames; Linux gives 64 kB unless it is asked for more
_END_S = 2.0  # how long workers have to end by themselves
# How a decoder in C ends its process on a file that it cannot handle. SIGKILL is not among them: it comes from outside.
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")


class WorkerPool:
    """`count` workers; micro-batch n is read by worker n % count."""

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._workers: list[_Worker] = []
        try:
            with interrupts.held(semaphores=False):
                for _ in range(count):
                    self._workers.append(_Worker(self._notify))
        except BaseException:
            self.close()
            raise

    def submit(self, pending: PendingBatch) -> None:
        self._worker_of(pending).submit(pending)

    def wait(self, pending: PendingBatch, seconds: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._error or not pending.left, seconds)
        if pending.left and self._error:
            raise self._error
        return not pending.left

    def reading(self, pending: PendingBatch) -> str:
        return self._worker_of(pending).reading()

    def close(self) -> None:
        """End the workers: those that do not end when their pipe closes, such as stopped ones, are killed."""
        for worker in self._workers:
            worker.close()
        until = time.monotonic() + _END_S
        for worker in self._workers:
            worker.end(until)

    def _worker_of(self, pending: PendingBatch) -> _Worker:
        return self._workers[pending.number % len(self._workers)]

    def _notify(self, error: Exception | None) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()


class _Worker:
    """One worker, started again where a file makes it crash, and its micro-batches."""

    def __init__(self, notify: Callable[[Exception | None], None]) -> None:
        self._notify = notify
        self._lock = threading.Lock()
        self._pending: dict[int, PendingBatch] = {}
        self._reading: tuple[int, int] | None = None  # micro-batch and place
        self._closing = False
        self._process = _Process()
        threading.Thread(target=self._receive, daemon=True).start()

    def submit(self, pending: PendingBatch) -> None:
        with self._lock:
            self._pending[pending.number] = pending
            self._process.send(Task(pending.number, pending.requests()))

    def reading(self) -> str:
        now = self._reading
        pending = None if now is None else self._pending.get(now[0])
        return "" if now is None or pending is None else pending.request(now[1]).path

    def close(self) -> None:
        with self._lock:
            self._closing = True
            self._process.close()

    def end(self, until: float) -> None:
        self._process.end(until)

    def _receive(self) -> None:
        """Run in a thread: take in answers until the worker ends."""
        try:
            while not self._closing:
                answer = self._process.answer()
                if answer is None:
                    self._restart()
                else:
                    self._take(answer)
        except Exception as error:  # the main thread raises it; else it would wait for ever
            if not self._closing:
                self._notify(error)

    def _take(self, answer: Answer) -> None:
        pending, place = self._pending[answer.number], answer.place
        if answer.outcome is None:
            self._reading = (answer.number, place)
            return
        self._reading = None
        if isinstance(answer.outcome, ReadFailure):
            pending.failed(place, answer.outcome)
            again = tuple((it, pending.request(it)) for it in (place, *answer.skipped))
            with self._lock:
                self._process.send(Task(pending.number, again, RETRY_S if pending.vanished else 0.0))
            return
        self._process.read_into(pending.room(place))
        pending.read(place)
        if not pending.left:
            with self._lock:
                del self._pending[pending.number]
            self._notify(None)

    def _restart(self) -> None:
        """Start the process again after a crash, without the file that caused it. Raises DataError for any other end."""
        code = self._process.code()
        if self._closing:
            return
        name = signal.Signals(-code).name if code < 0 else ""
        if name not in _CRASHES or self._reading is None:
            raise DataError(_died(name or f"exit code {code}, see above"))
        number, place = self._reading
        self._reading = None
        self._pending[number].failed(place, ReadFailure("clip", f"the process that decoded it crashed ({name})"))
        with self._lock:
            if self._closing:
                return
            with interrupts.held(semaphores=False):
                self._process = _Process()
            for pending in self._pending.values():
                self._process.send(Task(pending.number, pending.requests()))


def _died(how: str) -> str:
    return (
        f"a data worker died ({how}); most often the machine ran out of memory: lower data.workers or data.prefetch; "
        "the same command resumes from the last checkpoint"
    )


class _Process:
    """A worker's process and its pipes. Tasks are written by a thread: the pipe of a worker that hangs may be full."""

    def __init__(self) -> None:
        # Its path is that of this process: PYTHONPATH, and what scripts and tests have changed
        path = [entry for entry in sys.path if isinstance(entry, str)]
        program = f"import sys; sys.path[:] = {path!r}; from worldmodel.data.worker import main; main()"
        one_thread = {"OPENBLAS_NUM_THREADS": "1", **os.environ}  # decoding multiplies no matrices
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=one_thread
            )
        except OSError as error:
            raise DataError(f"a data worker cannot be started: {error}; set data.workers lower") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._answers: IO[bytes] = self._process.stdout
        _widen(self._answers)
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        threading.Thread(target=self._write, args=(self._process.stdin,), daemon=True).start()

    def send(self, task: Task) -> None:
        self._tasks.put(task)

    def answer(self) -> Answer | None:
        """The next answer; None where the process has ended."""
        try:
            head = bytearray(LENGTH.size)
            self.read_into(memoryview(head))
            body = bytearray(*LENGTH.unpack(head))
            self.read_into(memoryview(body))
        except EOFError:
            return None
        answer: Answer = pickle.loads(body)
        return answer

    def read_into(self, room: memoryview) -> None:
        while room:
            count = self._answers.readinto(room)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            room = room[count:]

    def code(self) -> int:
        """The exit code; its pipe is at its end."""
        self._answers.close()
        return self._process.wait()

    def close(self) -> None:
        self._tasks.put(None)

    def end(self, until: float) -> None:
        """Wait until then for the process to end, and kill it. One that waits in the kernel for storage is left behind."""
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)

    def _write(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError), pipe:  # its end is seen by the thread that reads
            while (task := self._tasks.get()) is not None:
                data = memoryview(pickle.dumps(task))
                while data:
                    data = data[pipe.write(data) :]


def _widen(pipe: IO[bytes]) -> None:
    """Let more frames fit into a pipe, where the system can."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # beyond the limit of this user
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
