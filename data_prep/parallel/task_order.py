"""The tasks of a run: handed out in order, given again after a loss, and their results returned in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from data_prep.pool import Failed

Task = TypeVar("Task")
Result = TypeVar("Result")

MAX_LOSSES = 5


@dataclass(eq=False)
class Attempt(Generic[Task]):
    """A task that was handed out. `losses`: how many processes or nodes were lost while they had it."""

    number: int
    task: Task
    losses: int = 0


class TaskOrder(Generic[Task, Result]):
    """Tasks that may run at most `ahead` places before the oldest one without a result."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = enumerate(tasks)
        self._started = self._returned = 0
        self._exhausted = False
        self._lost: deque[Attempt[Task]] = deque()
        self._finished: dict[int, tuple[Task, Result | Failed]] = {}

    @property
    def complete(self) -> bool:
        """Whether every result was returned."""
        return self._exhausted and self._started == self._returned

    def next(self, ahead: int, alone: bool) -> Attempt[Task] | None:
        """The next task to run; None if there is none now.

        alone: whether the worker has no other task. A task that was lost before runs alone, so that no
        other task is lost with it again.
        """
        if self._lost and alone:
            return self._lost.popleft()
        if self._exhausted or self._started - self._returned >= ahead:
            return None
        following = next(self._tasks, None)
        if following is None:
            self._exhausted = True
            return None
        self._started += 1
        return Attempt(*following)

    def finish(self, attempt: Attempt[Task], result: Result | Failed) -> None:
        self._finished[attempt.number] = attempt.task, result

    def lose(self, attempt: Attempt[Task]) -> None:
        """Note that the worker of a task was lost. Another one takes it up, unless too many were lost with it."""
        attempt.losses += 1
        if attempt.losses < MAX_LOSSES:
            self._lost.append(attempt)
        else:
            self.finish(attempt, Failed("crashed", f"{MAX_LOSSES} processes or nodes were lost while they had it"))

    def in_order(self) -> Iterator[tuple[Task, Result | Failed]]:
        """The results that are next in the order of the tasks."""
        while self._returned in self._finished:
            result = self._finished.pop(self._returned)
            self._returned += 1
            yield result
