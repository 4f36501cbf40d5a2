"""The actor of a processor: a process of Ray that supervises a child process, which runs one task at a time.

A crash ends the child only, so that it is told from the death of a node, with the same words as in
the pool of one machine.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from data_prep.parallel.shared_state import NodeReport, SharedState
from data_prep.pool import STOP_S, Failed, WorkerProcess
from worldmodel.files.output_errors import OutputError

COPIED_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MUJOCO_GL")
"""Environment variables of the driver that child processes have too. No other variable leaves the driver."""


@dataclass(frozen=True)
class ChildSettings:
    """Working directory and environment of child processes. A variable that is None is unset."""

    folder: str
    environment: Mapping[str, str | None]


def own_settings() -> ChildSettings:
    """The settings of this process."""
    return ChildSettings(os.getcwd(), {name: os.environ.get(name) for name in COPIED_VARIABLES})


@dataclass(frozen=True)
class Answer:
    """The result of a task, and how long it took."""

    result: Any  # a result, Failed or OutputError
    duration_s: float


class WorkerActor:
    """Runs tasks in a child process. Its methods run in threads of one process of Ray."""

    def __init__(self, settings: ChildSettings) -> None:
        for name, value in settings.environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if os.path.isdir(settings.folder):
            os.chdir(settings.folder)
        # A spawned process imports the file of the main module, which here is a script of Ray.
        vars(sys.modules["__main__"]).pop("__file__", None)
        self._child: WorkerProcess[Any, Any] | None = None
        self._timeout_s = 0.0
        self._lock = threading.Lock()  # one task at a time
        self._stopping = False

    def report(self, shared: SharedState) -> NodeReport:
        return shared.report()

    def begin(self, work: Callable[[Any], Any], timeout_s: float) -> None:
        """Start a child process for `work`. One for other work ends."""
        with self._lock:
            if self._child is not None:
                self._child.stop()
            self._child, self._timeout_s = WorkerProcess(_EndsWithParent(work)), timeout_s

    def run(self, task: Any) -> Answer:
        with self._lock:
            start = time.monotonic()
            return Answer(self._run(task), time.monotonic() - start)

    def _run(self, task: Any) -> Any:
        assert self._child is not None
        try:
            self._child.start(0, task)
        except OSError:  # it died between two tasks
            self._child.restart()
            self._child.start(0, task)
        answered = self._child.pipe.poll(self._timeout_s)
        if self._stopping:
            return Failed("error", "stopped")
        if not answered:
            return self._child.give_up(self._timeout_s)
        try:
            return self._child.collect()
        except OutputError as error:
            return error

    def stop(self) -> None:
        """End the child process, and let it remove its unfinished files."""
        self._stopping = True
        if self._child is not None:
            self._child.stop()


@dataclass(frozen=True)
class _EndsWithParent:
    """`work`, in a process that ends soon after its parent, also in the middle of a task."""

    work: Callable[[Any], Any]

    def __call__(self, task: Any) -> Any:
        _watch_parent()
        return self.work(task)


@cache
def _watch_parent() -> None:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)  # unfinished files are removed
    time.sleep(STOP_S)
    os._exit(1)
