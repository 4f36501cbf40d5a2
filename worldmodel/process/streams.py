"""Let a program continue when its standard streams break or are closed. Standard library only; must import fast.

`train.py | head` closes the pipe after ten lines, a terminal closes under nohup, and `>&-` starts a
program without standard output. Long work must go on: later output is dropped, and logs and results
are in files.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import Any


class _DropsOnError(io.FileIO):
    """A file descriptor that drops all output after the first error."""

    def write(self, data: Any) -> int:
        try:
            while (written := super().write(data)) is None:  # the pipe is full, and another program made it non-blocking
                select.select([], [self.fileno()], [])
            return written
        except OSError:
            # Replace the descriptor itself, so that C libraries and child processes no longer use the broken pipe.
            _redirect_to_null(self.fileno())
            return memoryview(data).nbytes


def survive_broken_streams() -> None:
    """Let standard output and error drop what cannot be written. A program calls this before it opens files."""
    if sys.platform == "win32":
        return  # Windows has another class for the console
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next opened file would get its number and receive the output
            _redirect_to_null(number)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            null = io.FileIO(number, "wb", closefd=False)
            stream = io.TextIOWrapper(io.BufferedWriter(null), encoding="utf-8", errors="backslashreplace")
        setattr(sys, name, _dropping_stream(number, stream))


def _dropping_stream(number: int, stream: Any) -> Any:
    """A copy of the stream that drops what cannot be written; the stream itself where it is not a text file."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_DropsOnError(number, "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
        write_through=stream.write_through,
    )


def _redirect_to_null(number: int) -> None:
    """Redirect the descriptor of a standard stream to the null device. Child processes inherit it."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    else:
        os.set_inheritable(number, True)
