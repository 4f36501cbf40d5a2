"""Time in which this process runs: a job that was suspended (Ctrl-Z, a scheduler) has not waited meanwhile."""

from __future__ import annotations

import time

_LONGEST_TICK_S = 2.0


class Clock:
    """Seconds that pass while this process runs. Whoever waits calls `tick` more often than every `longest_s`."""

    def __init__(self, longest_s: float = _LONGEST_TICK_S) -> None:
        self._longest_s, self._last = longest_s, time.monotonic()

    def tick(self) -> float:
        """Seconds since the last tick; a longer pause was a stop of this process and counts as a short one."""
        last, self._last = self._last, time.monotonic()
        return min(self._last - last, self._longest_s)
