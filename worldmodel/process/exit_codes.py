"""Causes of the end of a child process, from its exit code."""

from __future__ import annotations

import signal

# Signals that end a process when a decoder in C crashes on a file. SIGKILL is not among them: another process sends it.
_CRASH_SIGNALS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
_WINDOWS_CRASHES = {
    0xC0000005: "access violation", 0xC000001D: "illegal instruction", 0xC0000094: "division by zero",
    0xC00000FD: "stack overflow", 0xC0000374: "damaged heap", 0xC0000409: "stack buffer overrun",
}  # fmt: skip


def exit_cause(code: int) -> str:
    """The signal or crash that ended a process with this exit code; empty if the process ended by itself."""
    if code >= 0:
        return _WINDOWS_CRASHES.get(code, "")
    try:
        return signal.Signals(-code).name
    except ValueError:  # a realtime signal
        return f"signal {-code}"


def is_crash(cause: str) -> bool:
    """Whether an `exit_cause` is a crash of a decoder."""
    return cause in (*_CRASH_SIGNALS, *_WINDOWS_CRASHES.values())
