"""A process pool in which a task that crashes or hangs its process fails alone.

The pools of the standard library end when a worker dies, and do not say on which task. Damaged
video files can crash decoders.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Generic, TypeVar

from worldmodel.files.output_errors import OutputError
from worldmodel.process import interrupts
from worldmodel.process.exit_codes import exit_cause

Task = TypeVar("Task")
Result = TypeVar("Result")

STOP_S = 2.0  # a process that has not ended after this time is killed
MAX_UNFINISHED = 256  # tasks that may run or wait for an older one, because results are returned in order


@dataclass(frozen=True)
class Failed:
    """A task without a result. `reason` is "crashed", "hung" or "error"; `detail` is a sentence."""

    reason: str
    detail: str


@dataclass(frozen=True)
class _Unwritable:
    """The result of a process that cannot write its output.

    This is not the fault of the task and ends the run.
    """

    error: OutputError


def run_each(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int, timeout_s: float
) -> Iterator[tuple[Task, Result | Failed]]:
    """Run `work` on every task in spawned processes. Yields (task, result) in order.

    `work` is a module-level function or a partial of one. Tasks and results are pickled. `tasks` is
    read as needed, so memory is bounded. Raises OutputError as soon as `work` raises one for any
    task, since the others would fail too.
    """
    pool = [WorkerProcess(work) for _ in range(workers)]
    numbered, oldest, done = enumerate(tasks), 0, False
    finished: dict[int, tuple[Task, Result | Failed]] = {}
    try:
        while True:
            for worker in pool:
                running = sum(other.busy for other in pool)
                if done or worker.busy or len(finished) + running >= MAX_UNFINISHED:
                    continue
                following = next(numbered, None)
                done = following is None
                if following is not None:
                    worker.start(*following)
            if done and not finished and not any(worker.busy for worker in pool):
                return
            for number, task, result in _next_results(pool, timeout_s):
                finished[number] = task, result
            while oldest in finished:
                yield finished.pop(oldest)
                oldest += 1
    finally:
        for worker in pool:
            worker.request_stop()  # of all workers first, so that they end at the same time
        for worker in pool:
            worker.stop()


def _next_results(pool: list[WorkerProcess[Any, Any]], timeout_s: float) -> Iterator[tuple[int, Any, Any]]:
    """Wait up to a second for workers that have finished, died or exceeded the time limit."""
    busy = [worker for worker in pool if worker.busy]
    ready = wait([worker.pipe for worker in busy], timeout=min(1.0, timeout_s))
    for worker in busy:
        if worker.pipe in ready:
            yield worker.number, worker.task, worker.collect()
        elif time.monotonic() - worker.started > timeout_s:
            yield worker.number, worker.task, worker.give_up(timeout_s)


class WorkerProcess(Generic[Task, Result]):
    """One process and its current task."""

    def __init__(self, work: Callable[[Task], Result]) -> None:
        self._work = work
        self._spawn()

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of FFmpeg and Arrow
        self.pipe, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, self._work), daemon=True)
        with interrupts.signals_blocked():
            self._process.start()
        child_end.close()
        self.busy = False

    def start(self, number: int, task: Task) -> None:
        """Give the process a task. One that died since its last task is replaced first.

        If the new process dies at once as well, `collect` returns that the task crashed it.
        """
        try:
            self.pipe.send(task)
        except OSError:
            self.restart()
            with suppress(OSError):
                self.pipe.send(task)
        self.number, self.task, self.started, self.busy = number, task, time.monotonic(), True

    def collect(self) -> Result | Failed:
        """The result.

        A process that died is replaced. Raises OutputError if the process could not write its
        output.
        """
        try:
            result = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode or 0
            self.restart()
            return Failed("crashed", f"the process reading it died ({exit_cause(code) or f'exit code {code}'})")
        self.busy = False
        if isinstance(result, _Unwritable):
            raise result.error
        return result

    def give_up(self, timeout_s: float) -> Failed:
        """End the current task, which exceeded the time limit."""
        self.restart()
        return Failed("hung", f"no answer within {timeout_s:g} s")

    def restart(self) -> None:
        self.stop()
        self._spawn()

    def request_stop(self) -> None:
        """Ask the process to remove its unfinished files and to end."""
        self.pipe.close()
        self._process.terminate()

    def stop(self) -> None:
        """End the process. It is killed if it does not end by itself."""
        self.request_stop()
        self._process.join(STOP_S)
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """Run tasks in a worker process until the parent closes the pipe."""
    signal.signal(signal.SIGTERM, _exit)
    interrupts.ignore_in_child(signal.SIGINT)
    _run_tasks(pipe, work)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing is unfinished: an exception would only disturb the exit


def _run_tasks(pipe: Connection, work: Callable[[Any], Any]) -> None:
    while True:
        try:
            task = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            result = work(task)
        except OutputError as error:
            result = _Unwritable(error)
        except Exception as error:  # any other error belongs to this task
            result = Failed("error", f"{type(error).__name__}: {error}")
        try:
            pipe.send(result)
        except ConnectionError:
            return


def _exit(number: int, frame: FrameType | None) -> None:
    """End the process by an exception, so that unfinished files are removed."""
    raise SystemExit(128 + number)
