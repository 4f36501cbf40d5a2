"""Tables that stay in memory: the same numbers, the newest file, and a limit of memory."""

import os
from pathlib import Path

import numpy as np
import pytest

from worldmodel.signals import Channel, SignalError, Signals, read_signals, write_signals
from worldmodel.signals import kept as module
from worldmodel.signals.kept import KeptSignals


def write(path: Path, value: float, rows: int = 4) -> str:
    times, numbers = np.arange(rows) / 10, np.full((rows, 1), value)
    write_signals(path, Signals(str(path), times, numbers, numbers, Channel(("a",), ("px",)), Channel(("s",), ("px",))))
    return str(path)


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Paths of the tables that were read from files."""
    found: list[str] = []
    monkeypatch.setattr(module, "read_signals", lambda path: found.append(Path(path).name) or read_signals(path))
    return found


def test_a_table_is_read_once_until_its_file_changes(tmp_path: Path, reads):
    kept, path = KeptSignals(1 << 20), write(tmp_path / "a", 1.0)
    assert kept.read(path).actions.tolist() == kept.read(path).actions.tolist() == read_signals(path).actions.tolist()
    assert reads == ["a"]
    write(tmp_path / "a", 2.0)
    os.utime(path, ns=(0, 10**9))
    assert kept.read(path).actions.max() == 2
    assert reads == ["a", "a"]


def test_the_tables_that_were_used_last_are_kept(tmp_path: Path, reads):
    paths = [write(tmp_path / name, 0.0, rows=1000) for name in "abc"]
    kept = KeptSignals(2 * module._bytes_of(read_signals(paths[0])))
    for index in (0, 1, 0, 2, 0, 1):
        kept.read(paths[index])
    assert reads == ["a", "b", "c", "b"]
    small = KeptSignals(1)  # less than a table: it is read, and the last one is kept
    assert small.read(paths[0]).path == paths[0]


def test_windows_cannot_change_the_table_that_they_share(tmp_path: Path):
    found = KeptSignals(1 << 20).read(write(tmp_path / "a", 1.0))
    with pytest.raises(ValueError, match="read-only"):
        found.actions[0] = 5


def test_a_missing_table_is_an_error_each_time(tmp_path: Path):
    kept = KeptSignals(1 << 20)
    for _ in range(2):
        with pytest.raises(SignalError, match="no such table of signals"):
            kept.read(str(tmp_path / "none"))
