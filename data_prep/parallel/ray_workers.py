"""Tasks on the processors of a Ray cluster. The order of results, crashes and hangs are as in `data_prep.pool`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from data_prep.errors import PrepError
from data_prep.parallel.actor import Answer, own_settings
from data_prep.parallel.remote_worker import RemoteWorker, actor_class
from data_prep.parallel.shared_state import NodeReport, SharedState
from data_prep.parallel.task_order import TaskOrder
from data_prep.pool import MAX_UNFINISHED, STOP_S, Failed
from worldmodel.files.output_errors import OutputError

Task = TypeVar("Task")
Result = TypeVar("Result")

GRACE_S = 60.0  # beyond the time limit, which the actor itself enforces
NO_WORKER_S = 600.0  # the command ends if no processor was free for this time
LOOK_S = 2.0  # interval at which the number of processors is compared with the number of workers
SHORT_TASK_S = 0.3  # a worker has a second task waiting if tasks take less than this
PER_WORKER = 4  # unfinished tasks per worker in a large cluster


class RayWorkers:
    """Workers on a cluster: one per processor, or as many as were asked for.

    Nodes that join are used, and tasks of nodes that die are taken up by others.
    """

    def __init__(self, ray: Any, processes: int | None, shared: SharedState) -> None:
        self._ray, self._processes, self._shared, self._actors = ray, processes, shared, actor_class(ray)
        self._workers: list[RemoteWorker] = []
        self._looked_s = -math.inf
        self._ready_s = time.monotonic()  # when a worker was last ready
        self._mean_s = math.inf  # mean duration of the last tasks

    def run_each(
        self,
        work: Callable[[Task], Result],
        tasks: Iterable[Task],
        timeout_s: float,
        count: int | None = None,
        inline: bool = False,
    ) -> Iterator[tuple[Task, Result | Failed]]:
        """See `data_prep.parallel.workers.Workers`. Raises PrepError if the cluster is lost or a node cannot be used."""
        order: TaskOrder[Task, Result] = TaskOrder(tasks)
        self._mean_s, self._ready_s, self._looked_s = math.inf, time.monotonic(), -math.inf
        try:
            stored = self._ray.put(work)  # once, not with every task
            for worker in self._workers:
                worker.begin(stored, timeout_s)
            while not order.complete:
                self._adjust(stored, timeout_s, count)
                self._hand_out(order)
                self._receive(order, timeout_s)
                yield from order.in_order()
        except self._ray.exceptions.RayError as error:
            raise PrepError(f"Ray: {_first_line(error)}; the same command resumes from here") from None
        finally:
            if not order.complete:  # the workers still have tasks
                self.stop()

    def stop(self) -> None:
        """End all workers, and let them remove their unfinished files."""
        workers, self._workers = self._workers, []
        stopped = [worker.request_stop() for worker in workers if worker.host is not None]
        if stopped:
            self._ray.wait(stopped, num_returns=len(stopped), timeout=STOP_S + 1.0)
        for worker in workers:
            worker.kill()

    def _adjust(self, work: Any, timeout_s: float, count: int | None) -> None:
        """Start workers on new processors, and give up those that found none."""
        now = time.monotonic()
        if any(worker.ready for worker in self._workers):
            self._ready_s = now
        elif now - self._ready_s > NO_WORKER_S:
            raise PrepError(
                f"Ray: no processor of the cluster was free for {NO_WORKER_S:g} s; the same command resumes from here"
            )
        if now - self._looked_s < LOOK_S:
            return
        self._looked_s = now
        wanted = self._processes or int(self._ray.cluster_resources().get("CPU", 0))
        wanted = max(1, wanted if count is None else min(wanted, count))
        for worker in [worker for worker in self._workers if worker.host is None][: max(0, len(self._workers) - wanted)]:
            self._workers.remove(worker)
            worker.kill()
        while len(self._workers) < wanted:
            worker = RemoteWorker(self._ray, self._actors, own_settings(), self._shared)
            worker.begin(work, timeout_s)
            self._workers.append(worker)

    def _hand_out(self, order: TaskOrder[Any, Any]) -> None:
        """Give every worker a task; then, where tasks are short, a second one that waits there."""
        ahead = max(MAX_UNFINISHED, PER_WORKER * len(self._workers))
        for depth in (1, 2) if self._mean_s < SHORT_TASK_S else (1,):
            for worker in self._workers:
                if worker.ready and len(worker.calls) < depth and not worker.alone:
                    attempt = order.next(ahead, alone=not worker.calls)
                    if attempt is not None:
                        worker.submit(attempt)

    def _receive(self, order: TaskOrder[Any, Any], timeout_s: float) -> None:
        """Wait up to a second for answers, and process all that are there."""
        owners = {call: worker for worker in self._workers for call in worker.calls}
        if not owners:
            return
        calls = list(owners)
        answered, _ = self._ray.wait(calls, num_returns=1, timeout=1.0)
        if answered:
            answered, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        for call in answered:
            if call in owners[call].calls:  # the worker is not lost
                self._process(owners[call], call, order)
        for worker in [worker for worker in self._workers if worker.is_silent(timeout_s + GRACE_S)]:
            self._lose(worker, order)

    def _process(self, worker: RemoteWorker, call: Any, order: TaskOrder[Any, Any]) -> None:
        exceptions = self._ray.exceptions
        try:
            answer = self._ray.get(call)
        except exceptions.RayTaskError as error:  # an error of this project, or code that a node does not have
            raise PrepError(f"Ray: {_last_line(error)} on node {worker.host or 'that was just started'}") from None
        except exceptions.RayActorError as error:
            if error.actor_init_failed:
                raise PrepError(f"Ray: a worker cannot be started on a node: {_last_line(error)}") from None
            self._lose(worker, order)
            return
        except exceptions.RayError:
            self._lose(worker, order)
            return
        attempt = worker.take(call)
        if isinstance(answer, NodeReport):
            worker.host = answer.host
            if (problem := self._shared.problem(answer)) is not None:
                raise PrepError(f"Ray: {problem}")
        elif isinstance(answer, Answer) and attempt is not None:
            if isinstance(answer.result, OutputError):
                raise answer.result
            self._mean_s = answer.duration_s if self._mean_s == math.inf else 0.9 * self._mean_s + 0.1 * answer.duration_s
            order.finish(attempt, answer.result)

    def _lose(self, worker: RemoteWorker, order: TaskOrder[Any, Any]) -> None:
        """Give up a worker. Others take up its tasks."""
        self._workers.remove(worker)
        worker.kill()
        for attempt in worker.calls.values():
            if attempt is not None:
                order.lose(attempt)
        worker.calls.clear()
        self._looked_s = -math.inf


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _last_line(error: Exception) -> str:
    """The line of a traceback that names the error."""
    return str(error).strip().rpartition("\n")[2].strip() or type(error).__name__
