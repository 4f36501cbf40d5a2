"""Progress bar with loss, throughput and health verdict; a plain line every ten seconds where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress

from worldmodel.process.terminal import escape_lines

LINE_EVERY_S = 10.0
REFRESH_S = 0.2
VERDICT_COLOURS = {"healthy": "green", "warming_up": "yellow", "": "default"}  # all other verdicts are red


class Progress:
    """A context manager. Text that is printed inside appears above the bar."""

    def __init__(self, max_steps: int, start: int = 0, console: Console | None = None) -> None:
        self.console = console or Console()
        self._max_steps, self._start, self._done = max_steps, start, start
        self._started_at = time.monotonic()
        self._metrics: list[str] = []
        self._verdict = ""
        self._printed_at = -LINE_EVERY_S
        # The loop draws the bar, not a thread of rich: a worker that is forked while that thread holds a lock would hang.
        self._bar = RichProgress(
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            auto_refresh=False,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=max_steps, completed=start)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._draw()
        self._bar.stop()

    def advance(self, done: int) -> None:
        """Set the number of finished steps. It is cheap enough to call after each step."""
        self._done = done
        if time.monotonic() - self._printed_at >= REFRESH_S and self.console.is_terminal:
            self._draw()

    def set_metrics(self, loss: float, samples_per_s: float, data_wait_fraction: float) -> None:
        self._metrics = [f"loss {loss:.4g}", f"{samples_per_s:.3g} samples/s", f"waiting {data_wait_fraction:.0%}"]
        if self.console.is_terminal:
            self._draw()
        elif self._done == self._max_steps or time.monotonic() - self._printed_at >= LINE_EVERY_S:
            self.print(f"step {self._done:,}/{self._max_steps:,}  {'  '.join(self._parts())}")
            self._printed_at = time.monotonic()

    def set_verdict(self, verdict: str) -> None:
        self._verdict = verdict

    def print(self, text: str) -> None:
        """Print a line above the bar, with escaped control characters."""
        self.console.print(escape_lines(text), markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        colour = VERDICT_COLOURS.get(self._verdict, "red")
        parts = [f"[{colour}]{part}[/]" if part == self._verdict else part for part in self._parts()]
        text = f"{self._done:,}/{self._max_steps:,}  {'  '.join(parts)}"
        self._bar.update(self._task, completed=self._done, description=text, refresh=True)
        self._printed_at = time.monotonic()

    def _parts(self) -> list[str]:
        left = [f"{format_duration(self._left_s())} left"] if self._start < self._done < self._max_steps else []
        return [*self._metrics, *([self._verdict] if self._verdict else []), *left]

    def _left_s(self) -> float:
        return (time.monotonic() - self._started_at) / (self._done - self._start) * (self._max_steps - self._done)


def format_duration(seconds: float) -> str:
    """A duration in at most two units: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
