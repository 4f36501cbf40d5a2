"""Shows failures when they occur, and ends a test run that stands still.

A test run that is stopped from outside prints no summary. So each failure is printed at once, and after a long silence the
processes of this machine are listed, with what each of them waits for.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

SHOW_AFTER_S = 420.0
END_AFTER_S = 1500.0  # longer than a test may take, and than a worker process may hang before it ends itself


class RunMonitor:
    """A plugin of the process that prints: the only one, or the one to which the workers of pytest-xdist report."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._last_report = time.monotonic()
        self._shown = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def pytest_sessionstart(self) -> None:
        self._thread.start()

    def pytest_sessionfinish(self) -> None:
        self._stop.set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._last_report, self._shown = time.monotonic(), False
        if report.failed:
            terminal = self._config.get_terminal_writer()
            terminal.write(f"\n{report.nodeid}: {report.when} failed\n{report.longreprtext}\n", flush=True)

    def _watch(self) -> None:
        while not self._stop.wait(5):
            silent_s = time.monotonic() - self._last_report
            if silent_s > SHOW_AFTER_S and not self._shown:
                self._shown = True
                print(f"\nno test ended in {silent_s:.0f} s; processes:\n{processes()}", file=sys.__stderr__, flush=True)
            if silent_s > END_AFTER_S:
                print(f"\nno test ended in {silent_s:.0f} s: the run is ended", file=sys.__stderr__, flush=True)
                os._exit(3)


def processes() -> str:
    """One line for each Python process: number, parent, state, CPU seconds, command line, threads with their states.

    Other programs are not listed, since their command lines may hold secrets.
    """
    lines = []
    for process in psutil.process_iter():
        try:
            spent = process.cpu_times()
            if "python" not in process.name():
                continue
            command = " ".join(process.cmdline())[:200]
            line = f"{process.pid:7} {process.ppid():7} {process.status():10} {spent.user + spent.system:8.1f} s  {command}"
        except (psutil.Error, OSError):
            continue
        lines.append(line + _threads(process.pid))
    return "\n".join(lines)


def _threads(pid: int) -> str:
    """State of each thread and the function of the kernel in which it waits. Linux only."""
    found = []
    for thread in sorted(Path(f"/proc/{pid}/task").glob("*")):
        try:
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
            found.append(f"{state}:{(thread / 'wchan').read_text().strip('0') or '-'}")
        except OSError:
            continue
    return f"  [{' '.join(found[:40])}]" if found else ""
