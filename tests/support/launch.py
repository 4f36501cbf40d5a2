"""Starts real processes, such as the ranks of torchrun, so that none of them outlives its test.

torchrun starts each rank in a session of its own. If torchrun is killed, its ranks remain: they belong to no process group of
the test, and they keep its pipes open. So every process that is started here carries a mark in its environment, which its
children inherit, and all processes with the mark are killed together.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

MARK = "WORLDMODEL_TEST_MARK"


def marked(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """A copy of an environment (default: of this process) with a new mark.

    With SIGABRT, Python processes print where each of their threads is.
    """
    return {**(os.environ if environment is None else environment), MARK: uuid.uuid4().hex, "PYTHONFAULTHANDLER": "1"}


def kill_marked(mark: str, dump_stacks: bool = False) -> int:
    """Kill every process with this mark, and return how many there were. `dump_stacks` lets them print their stacks first."""
    found = _with_mark(mark)
    if dump_stacks and found:
        for process in found:
            _signal(process, signal.SIGABRT)
        time.sleep(2)
    for _ in range(10):  # repeated, since a process may have started another one
        left = _with_mark(mark)
        for process in left:
            _signal(process, signal.SIGKILL)
        if not left:
            break
        psutil.wait_procs(left, timeout=5)
    return len(found)


def run(
    command: Sequence[str | Path], timeout: float = 300, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with captured text. When it does not end in time, all its processes are killed.

    Raises:
        AssertionError: the time is over; with the output so far, and the stack of every Python process.
    """
    environment = marked(env)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:  # a process that remains cannot block a file
        texts = [str(argument) for argument in command]
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
        process = subprocess.Popen(texts, **streams, env=environment, cwd=cwd, start_new_session=True)
        in_time = True
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            in_time = False
        finally:
            kill_marked(environment[MARK], dump_stacks=not in_time)
            with contextlib.suppress(subprocess.TimeoutExpired):  # a process that the kernel holds cannot be killed
                process.wait(30)
        written = []
        for stream in (out, err):
            stream.seek(0)
            written.append(stream.read().decode(errors="replace"))
    assert in_time, f"{' '.join(texts)}: did not end within {timeout} s\n{written[0][-5000:]}\n{written[1][-20000:]}"
    return subprocess.CompletedProcess(texts, process.returncode, *written)


def _with_mark(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
