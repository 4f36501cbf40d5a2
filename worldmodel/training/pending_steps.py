"""Values of finished training steps that are read late, so that the device never waits for this program.

Reading a number waits until the device has computed it. If the number of the last step is read, the device then idles until
the next step is started. The numbers of a step are therefore read when the step after it has been started, and only where
a row of metrics is due: one wait for every train.log_every steps. All steps in between are read with it, and each of them is
checked for NaN. Before a health check or a checkpoint everything is read, so that no checkpoint has weights that are NaN.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.health.moments import NotFiniteError
from worldmodel.training.learner import Loss


@dataclass(frozen=True)
class StepValues:
    """The numbers of one training step, read from the device."""

    done: int  # number of the step, the first is 1
    loss: float
    grad_norm: float  # before clipping
    terms: dict[str, float]

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


Row = Callable[[StepValues], None]


@dataclass(frozen=True)
class _Pending:
    done: int
    values: Tensor  # [2 + terms] on the device: loss, norm of the gradient, terms
    terms: tuple[str, ...]
    write_row: Row | None  # what to do with the values where a row of metrics is due


class PendingSteps:
    """Training steps whose numbers have not been read yet.

    on_failure: makes the message for a step whose loss or gradient is not finite. deferred: read a step only after
    the next one was started; without it (on a CPU, where there is nothing to wait for) each step is read at once.
    """

    def __init__(self, on_failure: Callable[[StepValues], str], deferred: bool) -> None:
        self._on_failure, self._deferred = on_failure, deferred
        self._pending: deque[_Pending] = deque()

    def add(self, done: int, loss: Loss, grad_norm: Tensor, write_row: Row | None = None) -> None:
        """Add step number `done`, then read what can be read without idle time. Raises NotFiniteError."""
        values = torch.stack((loss.total.detach(), grad_norm, *loss.terms.values()))
        self._pending.append(_Pending(done, values, tuple(loss.terms), write_row))
        if not self._deferred:
            self.read()
        elif any(step.write_row for step in self._pending if step.done < done):
            self.read(before=done)

    def read(self, before: int | None = None) -> None:
        """Read all steps, or those before step number `before`, in one transfer, and write the rows that are due.

        Raises NotFiniteError for the first step whose loss or gradient is not finite.
        """
        ready = [step for step in self._pending if before is None or step.done < before]
        if not ready:
            return
        numbers = torch.stack([step.values for step in ready]).tolist()
        for step, (loss, grad_norm, *terms) in zip(ready, numbers, strict=True):
            self._pending.popleft()
            values = StepValues(step.done, loss, grad_norm, dict(zip(step.terms, terms, strict=True)))
            if not values.finite:
                raise NotFiniteError(self._on_failure(values))
            if step.write_row is not None:
                step.write_row(values)
