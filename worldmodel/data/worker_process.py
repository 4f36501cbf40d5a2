"""One worker process and its two pipes, on the side of the training process."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import IO

import worldmodel
from worldmodel.data.batch import DataError
from worldmodel.data.worker import LENGTH, Answer, Task

_STARTED_IN = os.getcwd()  # relative entries of sys.path refer to this folder


class WorkerProcess:
    """A process that runs `worldmodel.data.worker`. shared: descriptor of the memory that it shares with this process.

    Tasks are written by a thread, because the pipe of a worker that hangs may be full.
    """

    def __init__(self, pipe_bytes: int, shared: int | None) -> None:
        program = f"import sys; sys.path[:] = {import_path()!r}; from worldmodel.data.worker import main; main({shared})"
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}  # decoding multiplies no matrices
        try:
            self._process = subprocess.Popen(
                [*_interpreter(), "-c", program], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                pass_fds=() if shared is None else (shared,),
            )  # fmt: skip
        except OSError as error:
            raise DataError(f"a data worker cannot be started: {error}; set data.workers lower") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        enlarge_pipe(self._process.stdout, pipe_bytes)
        self._answers = io.BufferedReader(self._process.stdout)  # type: ignore[type-var]  # a raw file, because of bufsize=0
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        start_thread(partial(self._write, self._process.stdin), self)

    def send(self, task: Task) -> None:
        """Queue a task."""
        self._tasks.put(task)

    def answer(self) -> Answer | None:
        """Wait for the next answer; None if the process has ended."""
        try:
            head = bytearray(LENGTH.size)
            self.read_into(memoryview(head))
            body = bytearray(*LENGTH.unpack(head))
            self.read_into(memoryview(body))
        except EOFError:
            return None
        answer: Answer = pickle.loads(body)
        return answer

    def read_into(self, buffer: memoryview) -> None:
        """Fill a buffer. Raises EOFError if the process ends before."""
        if self._answers.readinto(buffer) < len(buffer):
            raise EOFError

    def exit_code(self) -> int:
        """Wait for a process whose pipe is at its end, and return its exit code."""
        self._answers.close()
        return self._process.wait()

    def close(self) -> None:
        """Close the pipe of tasks, which makes the worker end."""
        self._tasks.put(None)

    def wait_until(self, deadline: float) -> bool:
        """Wait for the end of the process until a time of `time.monotonic`; return whether it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def _write(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError), pipe:  # the thread that reads detects the end of the process
            while (task := self._tasks.get()) is not None:
                data = memoryview(pickle.dumps(task))
                while data:
                    data = data[pipe.write(data) :]


def start_thread(target: Callable[[], None], process: WorkerProcess) -> None:
    """Start a thread. If the system gives no more threads, end the process and raise DataError."""
    try:
        threading.Thread(target=target, daemon=True).start()
    except RuntimeError as error:
        process.kill()
        process.wait_until(time.monotonic() + 1.0)
        raise DataError(f"a data worker cannot be started: {error}; set data.workers lower") from error


def exit_message(code: int, cause: str) -> str:
    """What to report when a worker ended for another reason than a crash of a decoder."""
    resumes = "the same command resumes from the last checkpoint"
    if not cause:
        return f"a data worker ended with exit code {code}; its error is printed above; {resumes}"
    memory = "most often the machine ran out of memory: lower data.workers or data.prefetch; " if cause == "SIGKILL" else ""
    return f"a data worker died ({cause}); {memory}{resumes}"


def _interpreter() -> list[str]:
    """Python with the isolation flags that this process was started with."""
    flags = sys.flags
    isolated = ["-I"] if flags.isolated else ["-E"] * flags.ignore_environment + ["-s"] * flags.no_user_site
    return [sys.executable, *isolated]


def import_path() -> list[str]:
    """sys.path of this process, with all changes by scripts and tests, so that workers import the same modules."""
    path = [os.path.join(_STARTED_IN, entry) for entry in sys.path if isinstance(entry, str)]
    ours, found = Path(worldmodel.__file__ or "").absolute(), PathFinder.find_spec("worldmodel", path)
    if found is not None and found.origin is not None and Path(os.path.normpath(found.origin)) == ours:
        return path
    return [str(ours.parents[1]), *path]


def enlarge_pipe(pipe: IO[bytes], size: int) -> None:
    """Let more frames fit into a pipe, if the system allows it."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # above the limit of this user
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
