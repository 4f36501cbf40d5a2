"""The process that holds a lock, and whether it still runs. This module does not import torch."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from worldmodel.storage.secrets import recorded_command


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock."""

    token: str  # random, unique for each lock
    host: str
    system: str  # boot and process namespace: a process number is meaningful only within one of them
    pid: int
    started: str  # distinguishes a process from a later one with the same number
    command: str
    since: str

    @property
    def name(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "a process that did not write its name"

    @classmethod
    def this_process(cls) -> Owner:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        started = process_start(os.getpid()) or ""
        return cls(uuid.uuid4().hex, socket.gethostname(), system_id(), os.getpid(), started, recorded_command(sys.argv), now)


def is_on_this_system(owner: Owner) -> bool:
    """Whether the process can be looked up: it was started on this machine, since its last boot, in this container."""
    return owner.host == socket.gethostname() and owner.system == system_id()


def process_start(pid: int) -> str | None:
    """The start time of a process as text; "" where no such process runs; None where this is unknown."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        if sys.platform == "linux":  # ticks since boot, because seconds since 1970 change when the clock is set
            return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        return f"{process.create_time():.2f}"
    except ValueError:  # a negative number, which no process has
        return ""
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None if _is_hidden(pid) else ""
    except (psutil.Error, OSError):
        return None


def _is_hidden(pid: int) -> bool:
    """Whether a process runs but cannot be looked up, such as those of other users with hidepid in /proc."""
    if os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def system_id() -> str:
    """Identify the system within which process numbers are unique: boot of the machine and namespace of the container.

    Without /proc it is the hardware address of this machine, or "" where that is unknown.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        node = uuid.getnode()
        return "" if node >> 40 & 1 else f"{node:012x}"  # with this bit set, uuid.getnode() is a random number
