"""The process that holds a lock, and whether it still runs. No torch."""

from __future__ import annotations

import os
import shlex
import socket
import sys
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock."""

    token: str  # random: no two locks are equal
    host: str
    system: str  # boot and process namespace: process numbers of two of them have nothing to do with each other
    pid: int
    started: str  # tells a process from a later one of the same number
    command: str
    since: str

    @property
    def name(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "a process that did not write its name"

    @classmethod
    def this_process(cls) -> Owner:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        started = start_of(os.getpid()) or ""
        return cls(
            uuid.uuid4().hex, socket.gethostname(), system_of_this_process(), os.getpid(), started, shlex.join(sys.argv), now
        )


def is_here(owner: Owner) -> bool:
    """Whether the process can be looked up: it runs on this machine, since its last boot, and in this container."""
    return owner.host == socket.gethostname() and owner.system == system_of_this_process()


def start_of(pid: int) -> str | None:
    """When a process began, as text; "" where no such process runs, None where that cannot be found out."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        if sys.platform == "linux":  # in ticks since boot: the clock may be set, and seconds since 1970 then change
            return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        return f"{process.create_time():.2f}"
    except ValueError:  # of a negative number, which no process has
        return ""
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None if _is_hidden(pid) else ""
    except (psutil.Error, OSError):
        return None


def _is_hidden(pid: int) -> bool:
    """Whether a process runs that cannot be looked up: where /proc is mounted with hidepid, those of other users."""
    if os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def system_of_this_process() -> str:
    """What gives process numbers their meaning: the boot of this machine and the namespace of this container.

    Without /proc it is the hardware address of this machine; empty where that is not known.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        node = uuid.getnode()
        return "" if node >> 40 & 1 else f"{node:012x}"  # with that bit it is a random number
