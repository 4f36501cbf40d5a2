"""The driver's side of an actor, with its calls that have no answer yet."""

from __future__ import annotations

import time
from typing import Any

from data_prep.parallel.actor import ChildSettings, WorkerActor
from data_prep.parallel.shared_state import SharedState
from data_prep.parallel.task_order import Attempt

_OPTIONS = {"num_cpus": 1, "max_concurrency": 4, "max_restarts": 0, "max_task_retries": 0}


def actor_class(ray: Any) -> Any:
    """The class of actors, for one connection to a cluster."""
    return ray.remote(WorkerActor).options(**_OPTIONS)


class RemoteWorker:
    """An actor on one processor of the cluster."""

    def __init__(self, ray: Any, actors: Any, settings: ChildSettings, shared: SharedState) -> None:
        """actors: what `actor_class` returned."""
        self._ray, self._actor = ray, actors.remote(settings)
        self.calls: dict[Any, Attempt[Any] | None] = {self._actor.report.remote(shared): None}
        """Reference to the answer -> the task; None for other calls."""
        self.host: str | None = None  # until it has reported
        self._answered_s = time.monotonic()

    @property
    def ready(self) -> bool:
        """Whether it can take tasks."""
        return None not in self.calls.values()

    @property
    def alone(self) -> bool:
        """Whether it has a task that must run without another one behind it."""
        return any(attempt is not None and attempt.losses for attempt in self.calls.values())

    def begin(self, work: Any, timeout_s: float) -> None:
        """Start a child process. work: a reference to a Callable[[Task], Result]."""
        self.calls[self._actor.begin.remote(work, timeout_s)] = None

    def submit(self, attempt: Attempt[Any]) -> None:
        if not self.calls:
            self._answered_s = time.monotonic()
        self.calls[self._actor.run.remote(attempt.task)] = attempt

    def take(self, call: Any) -> Attempt[Any] | None:
        """Note that a call was answered. Returns its task."""
        self._answered_s = time.monotonic()
        return self.calls.pop(call)

    def is_silent(self, limit_s: float) -> bool:
        """Whether it has tasks and gave no answer for this time."""
        return self.ready and bool(self.calls) and time.monotonic() - self._answered_s > limit_s

    def request_stop(self) -> Any:
        """Ask it to end its child process. Returns a reference to the answer."""
        return self._actor.stop.remote()

    def kill(self) -> None:
        self._ray.kill(self._actor)
