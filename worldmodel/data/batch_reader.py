"""The reader of a process: it turns lists of samples into micro-batches, which data workers read ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count, islice
from types import TracebackType

from worldmodel.data.batch import Batch, PendingBatch, ReplacementPolicy, Sample
from worldmodel.data.batch_waiting import InProcessReader, Reader, WaitLimits, wait_for_batch
from worldmodel.data.worker_pool import WorkerPool


class BatchReader:
    """Reads micro-batches with `workers` processes, or in this process if there are none.

    The workers start with the reader and run until it is closed: one set of workers reads the held-out windows and then the
    training windows. As a context manager it closes itself.
    """

    def __init__(self, workers: int) -> None:
        self._reader: Reader = WorkerPool(workers) if workers else InProcessReader()
        self._numbers = count()  # a worker does the micro-batches with lower numbers first

    def read(
        self,
        sample_lists: Iterator[list[Sample]],
        policy: ReplacementPolicy,
        limits: WaitLimits,
        *,
        ahead: int,
        pin: bool = False,
    ) -> Iterator[Batch]:
        """Begin to read one micro-batch per list of samples, and return the micro-batches in order.

        The result ends early if the user requested a stop. ahead: micro-batches that are read ahead.
        """
        queue: deque[PendingBatch] = deque()

        def read_ahead() -> None:
            for samples in islice(sample_lists, ahead - len(queue)):
                pending = PendingBatch(next(self._numbers), samples, policy, pin)
                self._reader.submit(pending)
                queue.append(pending)

        def batches() -> Iterator[Batch]:
            while queue:
                if (batch := wait_for_batch(self._reader, queue.popleft(), limits)) is None:
                    return
                read_ahead()
                yield batch

        read_ahead()  # now, not when the first micro-batch is asked for
        return batches()

    def close(self) -> None:
        """Stop reading and end all worker processes."""
        self._reader.close()

    def __enter__(self) -> BatchReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
