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
import weakref
from collections.abc import Callable
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import IO

import worldmodel
from worldmodel.data.batch import DataError, PendingBatch
from worldmodel.data.reading import RETRY_S, ReadFailure
from worldmodel.data.worker import LENGTH, Answer, Task
from worldmodel.process import interrupts

# For frames; Linux gives 64 kB unless it is asked for more, and 64 MB to all pipes of a user, of which half are left to others
_PIPE_BYTES, _ALL_PIPES_BYTES = 1 << 20, 32 << 20
_IMPORTED_IN = os.getcwd()  # to which relative entries of sys.path refer
_END_S = 2.0  # how long workers have to end by themselves
# How a decoder in C ends its process on a file that it cannot handle. SIGKILL is not among them: it comes from outside.
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
_WINDOWS_CRASHES = {
    0xC0000005: "access violation", 0xC000001D: "illegal instruction", 0xC0000094: "division by zero",
    0xC00000FD: "stack overflow", 0xC0000374: "damaged heap", 0xC0000409: "stack buffer overrun",
}  # fmt: skip


class WorkerPool:
    """`count` workers; micro-batch n is read by worker n % count."""

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._workers: list[_Worker] = []
        self.close = weakref.finalize(self, _close, self._workers)  # at the latest when the interpreter exits
        pipe_bytes = min(_PIPE_BYTES, _ALL_PIPES_BYTES // (count * int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        try:
            with interrupts.held(semaphores=False):
                for _ in range(count):
                    self._workers.append(_Worker(self._notify, pipe_bytes))
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

    def _worker_of(self, pending: PendingBatch) -> _Worker:
        return self._workers[pending.number % len(self._workers)]

    def _notify(self, error: Exception | None) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()


def _close(workers: list[_Worker]) -> None:
    """End the workers: those that do not end when their pipe closes, such as stopped ones, are killed."""
    for worker in workers:
        worker.close()
    until = time.monotonic() + _END_S
    stubborn = [worker for worker in workers if not worker.ends(until)]
    for worker in stubborn:
        worker.kill()
    until = time.monotonic() + 1.0
    for worker in stubborn:
        worker.ends(until)  # one that waits in the kernel for storage is left behind


class _Worker:
    """One worker, started again where a file makes it crash, and its micro-batches."""

    def __init__(self, notify: Callable[[Exception | None], None], pipe_bytes: int) -> None:
        self._notify, self._pipe_bytes = notify, pipe_bytes
        self._lock = threading.Lock()
        self._pending: dict[int, PendingBatch] = {}
        self._reading: tuple[int, int] | None = None  # micro-batch and place
        self._closing = False
        self._process = _Process(pipe_bytes)
        _start_thread(self._receive, self._process)

    def submit(self, pending: PendingBatch) -> None:
        with self._lock:
            self._pending[pending.number] = pending
            self._process.send(Task(pending.number, pending.requests()))

    def reading(self) -> str:
        now = self._reading
        pending = None if now is None else self._pending.get(now[0])
        return "" if now is None or pending is None else pending.request(now[1]).path

    def close(self) -> None:
        self._closing = True
        if self._lock.acquire(timeout=1.0):  # at the exit of the interpreter a thread may hold it that runs no more
            try:
                self._process.close()
            finally:
                self._lock.release()

    def ends(self, until: float) -> bool:
        return self._process.ends(until)

    def kill(self) -> None:
        self._process.kill()

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
            return None
        if isinstance(answer.outcome, ReadFailure):
            self._reading = None
            pending.failed(place, answer.outcome)
            again = tuple((it, pending.request(it)) for it in (place, *answer.skipped))
            with self._lock:
                self._process.send(Task(pending.number, again, RETRY_S if pending.vanished else 0.0))
            return None
        try:
            self._process.read_into(pending.room(place))
        except EOFError:  # it ended while it sent them
            return self._restart()
        self._reading = None
        pending.read(place)
        if not pending.left:
            with self._lock:
                del self._pending[pending.number]
            self._notify(None)
        return None

    def _restart(self) -> None:
        """Start the process again after a crash, without the file that caused it. Raises DataError for any other end."""
        code = self._process.code()
        if self._closing:
            return
        name = _cause_of(code)
        if not name or (name not in (*_CRASHES, *_WINDOWS_CRASHES.values())) or self._reading is None:
            raise DataError(_died(code, name))
        number, place = self._reading
        self._reading = None
        self._pending[number].failed(place, ReadFailure("clip", f"the process that decoded it crashed ({name})"))
        with self._lock:
            if self._closing:
                return
            with interrupts.held(semaphores=False):
                self._process = _Process(self._pipe_bytes)
            for pending in self._pending.values():
                self._process.send(Task(pending.number, pending.requests()))


def _cause_of(code: int) -> str:
    """The signal or the crash that ended a process; empty where it ended by itself."""
    if code >= 0:
        return _WINDOWS_CRASHES.get(code, "")
    try:
        return signal.Signals(-code).name
    except ValueError:  # a realtime signal
        return f"signal {-code}"


def _died(code: int, cause: str) -> str:
    resumes = "the same command resumes from the last checkpoint"
    if not cause:
        return f"a data worker ended with exit code {code}; its error is printed above; {resumes}"
    memory = "most often the machine ran out of memory: lower data.workers or data.prefetch; " if cause == "SIGKILL" else ""
    return f"a data worker died ({cause}); {memory}{resumes}"


def _start_thread(target: Callable[[], None], process: _Process) -> None:
    """Raises DataError, and ends the process, where the system gives no more threads."""
    try:
        threading.Thread(target=target, daemon=True).start()
    except RuntimeError as error:
        process.kill()
        process.ends(time.monotonic() + 1.0)
        raise DataError(f"a data worker cannot be started: {error}; set data.workers lower") from error


def _interpreter() -> list[str]:
    """Python with the isolation that this process was started with."""
    flags = sys.flags
    isolated = ["-I"] if flags.isolated else ["-E"] * flags.ignore_environment + ["-s"] * flags.no_user_site
    return [sys.executable, *isolated]


def _import_path() -> list[str]:
    """sys.path of this process, changes by scripts and tests included, so that workers import the same modules."""
    path = [os.path.join(_IMPORTED_IN, entry) for entry in sys.path if isinstance(entry, str)]
    ours, found = Path(worldmodel.__file__ or "").absolute(), PathFinder.find_spec("worldmodel", path)
    if found is not None and found.origin is not None and Path(os.path.normpath(found.origin)) == ours:
        return path
    return [str(ours.parents[1]), *path]


class _Process:
    """A worker's process and its pipes. Tasks are written by a thread: the pipe of a worker that hangs may be full."""

    def __init__(self, pipe_bytes: int) -> None:
        program = f"import sys; sys.path[:] = {_import_path()!r}; from worldmodel.data.worker import main; main()"
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}  # decoding multiplies no matrices
        try:
            self._process = subprocess.Popen(
                [*_interpreter(), "-c", program], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
        except OSError as error:
            raise DataError(f"a data worker cannot be started: {error}; set data.workers lower") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._answers: IO[bytes] = self._process.stdout
        _widen(self._answers, pipe_bytes)
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        _start_thread(partial(self._write, self._process.stdin), self)

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

    def ends(self, until: float) -> bool:
        """Wait until then for the process to end; whether it has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))
        return self._process.poll() is not None

    def kill(self) -> None:
        self._process.kill()

    def _write(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError), pipe:  # its end is seen by the thread that reads
            while (task := self._tasks.get()) is not None:
                data = memoryview(pickle.dumps(task))
                while data:
                    data = data[pipe.write(data) :]


def _widen(pipe: IO[bytes], size: int) -> None:
    """Let more frames fit into a pipe, where the system can."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # beyond the limit of this user
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
