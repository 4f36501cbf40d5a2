"""Tables of signals that stay in memory, for a process that reads windows of the same clips again and again."""

from __future__ import annotations

import os
from collections import OrderedDict

from worldmodel.signals.table import Signals, read_signals

_Key = tuple[str, int, int]  # path; time of the last change and bytes, 0 where it is no file of its own
_EMPTY_BYTES = 2048  # of an object without rows, about


class KeptSignals:
    """Reads tables as `read_signals` does, and keeps those that were used last, up to `limit_bytes`.

    A file that has changed is read again. Its arrays cannot be written to, because all windows of a clip share them.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit, self._bytes = limit_bytes, 0
        self._kept: OrderedDict[_Key, Signals] = OrderedDict()

    def read(self, path: str) -> Signals:
        """The table of a path. Raises what `read_signals` raises."""
        key = _key_of(path)
        found = self._kept.pop(key, None)
        if found is None:
            found = read_signals(path)
            for values in (found.time_s, found.actions, found.states):
                values.flags.writeable = False
            self._bytes += _bytes_of(found)
        self._kept[key] = found  # the newest one is the last
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= _bytes_of(self._kept.popitem(last=False)[1])
        return found


def _key_of(path: str) -> _Key:
    try:
        state = os.stat(path)
    except OSError:  # an object, a member of a tar, or missing, which the reader tells
        return path, 0, 0
    return path, state.st_mtime_ns, state.st_size


def _bytes_of(signals: Signals) -> int:
    return _EMPTY_BYTES + signals.time_s.nbytes + signals.actions.nbytes + signals.states.nbytes
