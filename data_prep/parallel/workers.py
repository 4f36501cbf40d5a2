"""Where the tasks of a command run: in processes of this machine, or on the nodes of a Ray cluster."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from data_prep.pool import Failed, run_each
from worldmodel.process.arguments import whole_number
from worldmodel.process.cores import usable_cores

Task = TypeVar("Task")
Result = TypeVar("Result")

EMBEDDED = "local"  # --ray without an address: a Ray of this machine that ends with the command
_ADDRESS = re.compile(r"(?!.*://).+:\d{1,5}")


class Workers(Protocol):
    """Processes that run tasks. A task that crashes or hangs its process fails alone."""

    def run_each(
        self,
        work: Callable[[Task], Result],
        tasks: Iterable[Task],
        timeout_s: float,
        count: int | None = None,
        inline: bool = False,
    ) -> Iterator[tuple[Task, Result | Failed]]:
        """Run `work` on every task. Yields (task, result) in order, as `data_prep.pool.run_each` does.

        count: number of tasks, where it is known; no more processes are used. inline: a single local
        worker may be this process, and then the errors of `work` are raised.
        """


@dataclass(frozen=True)
class LocalWorkers:
    """Processes of this machine."""

    processes: int

    def run_each(
        self,
        work: Callable[[Task], Result],
        tasks: Iterable[Task],
        timeout_s: float,
        count: int | None = None,
        inline: bool = False,
    ) -> Iterator[tuple[Task, Result | Failed]]:
        processes = self.processes if count is None else min(self.processes, max(1, count))
        if processes > 1 or not inline:
            yield from run_each(work, tasks, processes, timeout_s)
            return
        for task in tasks:
            yield task, work(task)


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --workers and --ray."""
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        metavar="N",
        help="worker processes (default: one per core; with --ray ADDRESS, of the whole cluster)",
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const=EMBEDDED,
        type=_address,
        metavar="ADDRESS",
        help="run on Ray: HOST:PORT of the head of a cluster, or auto; without ADDRESS, a Ray of this machine is started",
    )


def _address(text: str) -> str:
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text}: expected HOST:PORT; run the command on a node of the cluster")
    if text in (EMBEDDED, "auto") or _ADDRESS.fullmatch(text):
        return text
    raise argparse.ArgumentTypeError(f"{text}: expected HOST:PORT or auto; --ray without an address must be the last argument")


@contextmanager
def open_workers(
    args: argparse.Namespace, reads: Sequence[str | os.PathLike[str]] = (), writes: str | os.PathLike[str] | None = None
) -> Iterator[Workers]:
    """The workers that --workers and --ray ask for. They end with the block.

    reads, writes: inputs and the output folder, which every node of a cluster must see; URLs are not
    checked. Raises PrepError where Ray is missing or cannot be reached, and where a node does not see them.
    """
    if args.ray is None:
        yield LocalWorkers(args.workers or usable_cores())
        return
    from data_prep.parallel.cluster import open_cluster

    with open_cluster(None if args.ray == EMBEDDED else args.ray, args.workers, reads, writes) as workers:
        yield workers
