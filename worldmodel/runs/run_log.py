"""The log of a run: rows of JSON in its folder, trackers, and a progress bar on the terminal.

    RUN/metrics.jsonl     rows of training metrics
    RUN/health.jsonl      rows of health checks
    RUN/bad_clips.jsonl   each video that could not be read, once

Each row is passed to the operating system at once: a kill loses at most the line that is being
written. Rows are synced to the disk before a checkpoint that depends on them, so that a power
failure does not lose them.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from worldmodel.checkpoint import CheckpointError, write_failure_message
from worldmodel.data.loader import BadClip
from worldmodel.files.atomic import sync_to_disk
from worldmodel.files.folder_lock import FolderLock
from worldmodel.files.log_rows import append_row, read_rows, truncate_after
from worldmodel.health.verdicts import HealthCheck
from worldmodel.recipe import Recipe
from worldmodel.runs.progress import Progress
from worldmodel.runs.trackers import Tracker, finite_numbers, open_tracker

Item = TypeVar("Item")
LOGS = ("metrics", "health", "bad_clips")


@dataclass(frozen=True)
class Speed:
    """Speed of training since the last row of metrics."""

    seconds: float  # duration of the training up to now, including the time before interruptions
    samples_per_s: float
    data_wait_fraction: float  # of the time since the last row


class RunLog:
    """The log of one run, continued after step `start`. Later rows of an interrupted run are removed.

    rows: the number of rows of each log at that step, from the checkpoint. Missing and damaged rows
    are reported. Every process creates the log and calls its methods; only the main process writes
    and prints. As a context manager it closes what it opened. The `lock` of the run folder is
    checked before each row, so that nothing is written to a folder that was removed.
    """

    def __init__(
        self,
        run: Path,
        recipe: Recipe,
        *,
        start: int = 0,
        seconds: float = 0.0,
        main: bool = True,
        lock: FolderLock | None = None,
        rows: Mapping[str, int] | None = None,
    ) -> None:
        self._run, self._main, self._batch_size, self._lock = run, main, recipe.data.batch_size, lock
        self._done, self._row_step = start, start
        self._before_s, self._started_at = seconds, time.monotonic()
        self._row_at, self._waited_s = self._started_at, 0.0
        self._health: HealthCheck | None = None
        self._open = ExitStack()
        self._trackers: list[Tracker] = []
        if not main:
            return
        run.mkdir(parents=True, exist_ok=True)
        self._unsynced: set[str] = set()
        self._progress = Progress(recipe.train.max_steps, start)
        for name in LOGS:
            self._repair(name, start, (rows or {}).get(name, 0))
        self._rows = {name: len(read_rows(self._path(name))) for name in LOGS}
        self._logged_paths = {row.get("path") for row in read_rows(self._path("bad_clips"))}
        self._trackers = [open_tracker(name, run, start, recipe.model_dump(mode="json")) for name in recipe.train.trackers]

    def __enter__(self) -> RunLog:
        if self._main:
            for tracker in self._trackers:
                self._open.callback(tracker.close)
            self._open.enter_context(self._progress)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    @property
    def seconds(self) -> float:
        """Duration of training in seconds, including the time before interruptions."""
        return self._before_s + time.monotonic() - self._started_at

    def timed(self, stream: Iterable[Item]) -> Iterator[Item]:
        """Iterate over the steps of a stream and record the time spent waiting for them."""
        items = iter(stream)
        while True:
            waiting_since = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            self._waited_s += time.monotonic() - waiting_since
            yield item
            self._done += 1
            if self._main:
                self._progress.advance(self._done)

    def measure_speed(self, step: int) -> Speed:
        """Measure the speed from the last call, or the start, to this step."""
        now = time.monotonic()
        elapsed_s = max(now - self._row_at, 1e-9)
        samples_per_s = (step - self._row_step) * self._batch_size / elapsed_s
        speed = Speed(round(self.seconds, 3), samples_per_s, min(1.0, self._waited_s / elapsed_s))
        self._row_at, self._row_step, self._waited_s = now, step, 0.0
        return speed

    def log_training(self, step: int, row: Mapping[str, Any], speed: Speed | None = None) -> None:
        """Write a row of metrics with the speed since the last row. `row` has numbers, among them `samples` and `loss`.

        Give the `speed` that was measured at that step if the row is written later.
        """
        if not self._main:
            return
        speed = speed or self.measure_speed(step)
        first = {"step": step, "samples": row["samples"], "seconds": speed.seconds}
        rates = {"samples_per_s": speed.samples_per_s, "data_wait_fraction": speed.data_wait_fraction}
        self._write("metrics", step, {**first, **row, **rates})
        self._progress.advance(step)
        self._progress.set_metrics(row["loss"], **rates)

    def log_health(self, step: int, health: HealthCheck) -> None:
        """Write a row of a health check. A changed verdict is printed with advice."""
        before, self._health = self._health, health
        if not self._main:
            return
        self._write("health", step, health.row(), prefix="health/")
        self._progress.set_verdict(health.verdict)
        if before is None or before.verdict != health.verdict:
            self._progress.print(f"step {step:,}: {health.verdict}: {health.advice}")

    def skill_at(self, step: int) -> float | None:
        """Mean held-out skill at this step; None where no health check was made there or the skill is not finite."""
        if self._health is None or self._health.step != step or not math.isfinite(self._health.skill):
            return None
        return self._health.skill

    def log_bad_clips(self, clips: Iterable[BadClip]) -> None:
        """Write and print each video that could not be read, once."""
        for clip in clips:
            if self._main and clip.path not in self._logged_paths:
                self._logged_paths.add(clip.path)
                self._append("bad_clips", {"step": self._done, "path": clip.path, "reason": clip.reason})
                self._progress.print(f"cannot be read: {clip.path}: {clip.reason}")

    def print(self, text: str) -> None:
        """Print a line above the progress bar; on ranks other than the main one, to standard error."""
        if self._main:
            self._progress.print(text)
        else:
            print(text, file=sys.stderr, flush=True)

    @property
    def rows(self) -> dict[str, int]:
        """Number of rows of each log, on the main process."""
        return dict(self._rows)

    def sync(self) -> None:
        """Flush new rows to the disk. Raises CheckpointError."""
        for name in sorted(self._unsynced):
            with self._writing(name):
                sync_to_disk(self._path(name))
        if self._unsynced:
            with self._writing(""):
                sync_to_disk(self._run)
        self._unsynced.clear()

    def check_folder(self) -> None:
        """Raise FolderLockError where the run folder was removed, moved or taken over by another process."""
        if self._lock is not None:
            self._lock.check()

    def _repair(self, name: str, start: int, expected: int) -> None:
        until = math.inf if name == "bad_clips" else start  # rows on unreadable videos stay valid
        with self._writing(name):
            if found := truncate_after(self._path(name), until, expected):
                self._progress.print(f"{self._path(name)}: {'; '.join(found)}")

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        self.check_folder()
        with self._writing(name):
            append_row(self._path(name), row)
        self._rows[name] += 1
        self._unsynced.add(name)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CheckpointError(write_failure_message(self._path(name) if name else self._run, error, self._run)) from error

    def _write(self, name: str, step: int, row: Mapping[str, Any], prefix: str = "") -> None:
        self._append(name, row)
        for tracker in self._trackers:
            tracker.log(step, finite_numbers(row, prefix))

    def _path(self, name: str) -> Path:
        return self._run / f"{name}.jsonl"
