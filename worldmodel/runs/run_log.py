"""What a run says of itself: rows in its folder, trackers, and a line on the screen.

    RUN/metrics.jsonl     training rows
    RUN/health.jsonl      the doctor's
    RUN/bad_clips.jsonl   each video that could not be read, once

A row is handed to the operating system as it is written: a kill costs at most the line being written. Before a checkpoint that
counts on the rows they are synced to the disk, so that a power failure costs none of them either.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from worldmodel.files.atomic import sync
from worldmodel.checkpoint import CheckpointError, cannot_write
from worldmodel.data.loader import BadClip
from worldmodel.health.diagnostics import Health
from worldmodel.files.folder_lock import FolderLock
from worldmodel.runs.progress import Progress
from worldmodel.recipe import Recipe
from worldmodel.runs.log_rows import append_row, read_rows, truncate_after
from worldmodel.runs.trackers import Tracker, numbers_of, open_tracker

Item = TypeVar("Item")
LOGS = ("metrics", "health", "bad_clips")


class RunLog:
    """The log of one run, from the update it starts after; what an interrupted run wrote beyond that is cut off.

    rows: how many rows each log had at that update, as the checkpoint says. What is missing or damaged is said in a line.
    Made and called alike on every process; only the main one writes and speaks. A context: it closes what it opened.
    Before each row the `lock` of the run folder is checked, so that nothing is written to a folder that was removed.
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
        self._done, self._row_update = start, start
        self._before_s, self._began = seconds, time.monotonic()
        self._row_at, self._waited_s = self._began, 0.0
        self._health: Health | None = None
        self._open = ExitStack()
        self._trackers: list[Tracker] = []
        if not main:
            return
        run.mkdir(parents=True, exist_ok=True)
        self._unsynced: set[str] = set()
        self._progress = Progress(recipe.train.max_steps, start)
        for name in LOGS:
            self._mend(name, start, (rows or {}).get(name, 0))
        self._rows = {name: len(read_rows(self._path(name))) for name in LOGS}
        self._named = {row.get("path") for row in read_rows(self._path("bad_clips"))}
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
        """Of training, the time before an interruption included."""
        return self._before_s + time.monotonic() - self._began

    def timed(self, stream: Iterable[Item]) -> Iterator[Item]:
        """The updates of a stream, while the time spent waiting for them is kept."""
        items = iter(stream)
        while True:
            asked = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            self._waited_s += time.monotonic() - asked
            yield item
            self._done += 1
            if self._main:
                self._progress.advance(self._done)

    def train(self, update: int, row: Mapping[str, Any]) -> None:
        """A row of metrics, with the speed since the last one; `row` holds plain numbers, `samples` and `loss` among them."""
        if not self._main:
            return
        now = time.monotonic()
        elapsed_s = max(now - self._row_at, 1e-9)
        speed = {
            "clips_per_s": (update - self._row_update) * self._batch_size / elapsed_s,
            "data_wait_fraction": min(1.0, self._waited_s / elapsed_s),
        }
        self._row_at, self._row_update, self._waited_s = now, update, 0.0
        first = {"step": update, "samples": row["samples"], "seconds": round(self.seconds, 3)}
        self._write("metrics", update, {**first, **row, **speed})
        self._progress.advance(update)
        self._progress.show(row["loss"], **speed)

    def health(self, update: int, health: Health) -> None:
        """A row of health; a verdict that is new is said with what to do about it."""
        before, self._health = self._health, health
        if not self._main:
            return
        self._write("health", update, health.row(), prefix="health/")
        self._progress.feel(health.verdict)
        if before is None or before.verdict != health.verdict:
            self._progress.say(f"update {update:,}: {health.verdict}: {health.advice}")

    def skill_at(self, update: int) -> float | None:
        """Mean held-out skill, if the doctor looked after this very update and could tell."""
        if self._health is None or self._health.update != update or not math.isfinite(self._health.skill):
            return None
        return self._health.skill

    def bad_clips(self, clips: Iterable[BadClip]) -> None:
        """Name each video that could not be read, once."""
        for clip in clips:
            if self._main and clip.path not in self._named:
                self._named.add(clip.path)
                self._append("bad_clips", {"step": self._done, "path": clip.path, "reason": clip.reason})
                self._progress.say(f"cannot be read: {clip.path}: {clip.reason}")

    def say(self, text: str) -> None:
        """Print a line; on another rank than the main one, to its standard error."""
        if self._main:
            self._progress.say(text)
        else:
            print(text, file=sys.stderr, flush=True)

    @property
    def rows(self) -> dict[str, int]:
        """How many rows each log has, on the main process."""
        return dict(self._rows)

    def sync(self) -> None:
        """Write the rows from the system's cache to the disk. Raises CheckpointError."""
        for name in sorted(self._unsynced):
            with self._writing(name):
                sync(self._path(name))
        if self._unsynced:
            with self._writing(""):
                sync(self._run)
        self._unsynced.clear()

    def check_folder(self) -> None:
        """Raise FolderLockError where the run folder was removed, moved or taken over by another process."""
        if self._lock is not None:
            self._lock.check()

    def _mend(self, name: str, start: int, expected: int) -> None:
        until = math.inf if name == "bad_clips" else start  # what is known of the videos stays true
        with self._writing(name):
            if found := truncate_after(self._path(name), until, expected):
                self._progress.say(f"{self._path(name)}: {'; '.join(found)}")

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
            raise CheckpointError(cannot_write(self._path(name) if name else self._run, error, self._run)) from error

    def _write(self, name: str, update: int, row: Mapping[str, Any], prefix: str = "") -> None:
        self._append(name, row)
        for tracker in self._trackers:
            tracker.log(update, numbers_of(row, prefix))

    def _path(self, name: str) -> Path:
        return self._run / f"{name}.jsonl"
