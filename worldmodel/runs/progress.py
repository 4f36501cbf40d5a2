"""How far a run is and how it feels, on one line: a bar in a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress

from worldmodel.process.terminal import printable

LINE_EVERY_S = 10.0
REFRESH_S = 0.2
COLOURS = {"healthy": "green", "warming_up": "yellow", "": "default"}  # any other verdict is red


class Progress:
    """Used as a context; in it, whatever else is printed appears above the bar."""

    def __init__(self, updates: int, start: int = 0, console: Console | None = None) -> None:
        self.console = console or Console()
        self._updates, self._start, self._done = updates, start, start
        self._began = time.monotonic()
        self._words: list[str] = []
        self._verdict = ""
        self._said_at = -LINE_EVERY_S
        # Drawn from the loop, not by rich's thread: a worker forked while that thread holds a lock would hang
        self._bar = RichProgress(
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            auto_refresh=False,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=updates, completed=start)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._draw()
        self._bar.stop()

    def advance(self, done: int) -> None:
        """So many updates are done; cheap enough to call after each."""
        self._done = done
        if time.monotonic() - self._said_at >= REFRESH_S and self.console.is_terminal:
            self._draw()

    def show(self, loss: float, clips_per_s: float, data_wait_fraction: float) -> None:
        self._words = [f"loss {loss:.4g}", f"{clips_per_s:.3g} clips/s", f"waiting {data_wait_fraction:.0%}"]
        if self.console.is_terminal:
            self._draw()
        elif self._done == self._updates or time.monotonic() - self._said_at >= LINE_EVERY_S:
            self.say(f"update {self._done:,}/{self._updates:,}  {'  '.join(self._parts())}")
            self._said_at = time.monotonic()

    def feel(self, verdict: str) -> None:
        self._verdict = verdict

    def say(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        colour = COLOURS.get(self._verdict, "red")
        parts = [f"[{colour}]{part}[/]" if part == self._verdict else part for part in self._parts()]
        text = f"{self._done:,}/{self._updates:,}  {'  '.join(parts)}"
        self._bar.update(self._task, completed=self._done, description=text, refresh=True)
        self._said_at = time.monotonic()

    def _parts(self) -> list[str]:
        left = [f"{duration(self._left_s())} left"] if self._start < self._done < self._updates else []
        return [*self._words, *([self._verdict] if self._verdict else []), *left]

    def _left_s(self) -> float:
        return (time.monotonic() - self._began) / (self._done - self._start) * (self._updates - self._done)


def duration(seconds: float) -> str:
    """Two units at most: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
