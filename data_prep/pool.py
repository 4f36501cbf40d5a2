"""A pool of processes that survives its tasks: one that crashes or hangs is a failed task, not the end of the run.

The standard pools end when a worker dies, and cannot say on which task; video files do kill decoders.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Generic, TypeVar

from worldmodel.files.output_errors import OutputError
from worldmodel.process import interrupts

Task = TypeVar("Task")
Result = TypeVar("Result")

STOP_S = 2.0  # how long a process may take to end by itself, before it is killed
AHEAD = 256  # tasks that may be finished before the oldest one is: results come in order, so they have to wait


@dataclass(frozen=True)
class Failed:
    """A task without a result. reason: "crashed", "hung", or "error"; detail: a sentence."""

    reason: str
    detail: str


@dataclass(frozen=True)
class _Unwritable:
    """What a process sends when it cannot write its output: that is no fault of the task, and ends the run."""

    error: OutputError


def run_each(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int, timeout_s: float
) -> Iterator[tuple[Task, Result | Failed]]:
    """(task, result) for every task, in their order, by `workers` spawned processes, with bounded memory.

    `work` is a module-level function or a partial of one; tasks and results are pickled. `tasks` is read as needed.
    Raises OutputError as soon as `work` raises one for any task: the others would fail too.
    """
    crew = [_Worker(work) for _ in range(workers)]
    numbered, oldest, done = enumerate(tasks), 0, False
    finished: dict[int, tuple[Task, Result | Failed]] = {}
    try:
        while True:
            for worker in crew:
                running = sum(other.busy for other in crew)
                if done or worker.busy or len(finished) + running >= AHEAD:
                    continue
                following = next(numbered, None)
                done = following is None
                if following is not None:
                    worker.start(*following)
            if done and not finished and not any(worker.busy for worker in crew):
                return
            for number, task, result in _next_results(crew, timeout_s):
                finished[number] = task, result
            while oldest in finished:
                yield finished.pop(oldest)
                oldest += 1
    finally:
        for worker in crew:
            worker.ask_to_stop()  # all at once, so that they end side by side
        for worker in crew:
            worker.stop()


def _next_results(crew: list[_Worker[Any, Any]], timeout_s: float) -> Iterator[tuple[int, Any, Any]]:
    """Wait until some worker is done, dead or late."""
    busy = [worker for worker in crew if worker.busy]
    ready = wait([worker.pipe for worker in busy], timeout=min(1.0, timeout_s))
    for worker in busy:
        if worker.pipe in ready:
            yield worker.number, worker.task, worker.collect()
        elif time.monotonic() - worker.started > timeout_s:
            worker.restart()
            yield worker.number, worker.task, Failed("hung", f"no answer within {timeout_s:g} s")


class _Worker(Generic[Task, Result]):
    """One process and the task it is at."""

    def __init__(self, work: Callable[[Task], Result]) -> None:
        self._work = work
        self._spawn()

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would carry locks of FFmpeg and Arrow over
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        with interrupts.held():
            self._process.start()
        theirs.close()
        self.busy = False

    def start(self, number: int, task: Task) -> None:
        self.number, self.task, self.started, self.busy = number, task, time.monotonic(), True
        self.pipe.send(task)

    def collect(self) -> Result | Failed:
        """The result; a process that died instead is replaced. Raises OutputError where the process could not write."""
        try:
            result = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self.restart()
            return Failed("crashed", f"the process reading it died ({how})")
        self.busy = False
        if isinstance(result, _Unwritable):
            raise result.error
        return result

    def restart(self) -> None:
        self.stop()
        self._spawn()

    def ask_to_stop(self) -> None:
        """The process removes what it has half written, and ends."""
        self.pipe.close()
        self._process.terminate()

    def stop(self) -> None:
        """End the process, by force if need be."""
        self.ask_to_stop()
        self._process.join(STOP_S)
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """The life of a worker: until the parent hangs up."""
    signal.signal(signal.SIGTERM, _leave)
    interrupts.leave_to_parent(signal.SIGINT)
    while True:
        try:
            task = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            result = work(task)
        except OutputError as error:
            result = _Unwritable(error)
        except Exception as error:  # whatever it is, it belongs to this task
            result = Failed("error", f"{type(error).__name__}: {error}")
        try:
            pipe.send(result)
        except ConnectionError:
            return


def _leave(number: int, frame: FrameType | None) -> None:
    """End the process by an exception, so that unfinished files are removed on the way."""
    raise SystemExit(128 + number)
