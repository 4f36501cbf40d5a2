"""Standard streams that break or are closed do not end a program. Standard library only; this module must import fast.

`train.py | head` closes the pipe after ten lines, a terminal goes away under nohup, `>&-` starts a program without an output.
Long work goes on: what it prints from then on is dropped, and its logs and results are files.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import Any


class _Unbroken(io.FileIO):
    """A file descriptor whose output is dropped from the first error on."""

    def write(self, data: Any) -> int:
        try:
            while (written := super().write(data)) is None:  # another program made the pipe non-blocking, and it is full
                select.select([], [self.fileno()], [])
            return written
        except OSError:
            # At the descriptor, so that C libraries and child processes are rid of the broken pipe, too
            _send_to_null(self.fileno())
            return memoryview(data).nbytes


def survive_broken_streams() -> None:
    """Let standard output and error drop what cannot be written. A program calls it first of all, before it opens files."""
    if sys.platform == "win32":
        return  # the console has a class of its own there
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would get its number, and what is printed
            _send_to_null(number)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            null = io.FileIO(number, "wb", closefd=False)
            stream = io.TextIOWrapper(io.BufferedWriter(null), encoding="utf-8", errors="backslashreplace")
        setattr(sys, name, _unbroken(number, stream))


def _unbroken(number: int, stream: Any) -> Any:
    """A stream like this one that drops what cannot be written; the stream itself where it is no text file."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Unbroken(number, "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
        write_through=stream.write_through,
    )


def _send_to_null(number: int) -> None:
    """Let a descriptor of a standard stream read nothing and drop what is written; child processes inherit it."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    else:
        os.set_inheritable(number, True)
