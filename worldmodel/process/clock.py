"""A clock that does not count time in which this process was suspended (by Ctrl-Z or a scheduler)."""

from __future__ import annotations

import time

_MAX_TICK_S = 2.0


class Clock:
    """Seconds in which this process runs. Call `tick` at intervals shorter than `max_tick_s`."""

    def __init__(self, max_tick_s: float = _MAX_TICK_S) -> None:
        self._max_tick_s, self._last = max_tick_s, time.monotonic()

    def tick(self) -> float:
        """Seconds since the last tick, at most `max_tick_s`: a longer interval means that the process was suspended."""
        last, self._last = self._last, time.monotonic()
        return min(self._last - last, self._max_tick_s)
