"""Tasks that crash, hang or end the process that started them. It imports little, so that processes start fast."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path


def misbehave(number: int) -> int:
    """Tasks 1 to 5 end the process in three ways, hang, and raise an error."""
    if number == 1:
        os._exit(3)
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        ctypes.string_at(0)
    if number == 4:
        time.sleep(600)
    if number == 5:
        raise ValueError(number)
    return -number


def kill_parent_once(number: int, folder: str) -> int:
    """Task 3 kills the parent process, the first time that it runs."""
    mark = Path(folder, "killed")
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    return number
