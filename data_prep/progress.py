"""Progress bar with rate and remaining time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


class Bar:
    """Counts finished items, and how many of them were rejected."""

    def __init__(self, progress: Progress, row: TaskID) -> None:
        self._progress, self._row, self._rejected = progress, row, 0

    def step(self, done: int = 1, ok: bool = True) -> None:
        self._rejected += not ok
        self._progress.update(self._row, advance=done, rejected=f"{self._rejected} rejected" if self._rejected else "")


@contextmanager
def bar(what: str, total: int) -> Iterator[Bar]:
    """A progress bar on standard error, such as `index 12/99 3.1/s 0:00:28`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rejected]}"),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=20) as progress:
        yield Bar(progress, progress.add_task(what, total=total, rejected=""))
