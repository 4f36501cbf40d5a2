"""A TCP connection that carries short messages, one JSON list a line. No call waits longer than it is told."""

from __future__ import annotations

import contextlib
import json
import socket
import time

MAX_BYTES = 16384  # of one message; more is no message of ours
HELLO_BYTES = 256  # of the first message of a connection, before it is known who sends it

Message = tuple[str, str]  # kind and text


class Line:
    """One connection. OSError where it is closed or broken, or where a message is longer than `most_bytes`."""

    def __init__(self, connection: socket.socket, most_bytes: int = MAX_BYTES) -> None:
        self.connection, self.most_bytes = connection, most_bytes
        self._received = b""
        connection.settimeout(0.0)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, kind: str, text: str = "") -> None:
        """Hand a message to the operating system. A full buffer, of a connection that is cut, drops it."""
        data = json.dumps([kind, text[: MAX_BYTES // 16]]).encode() + b"\n"
        with contextlib.suppress(BlockingIOError):
            self.connection.send(data)

    def receive(self, wait_s: float = 0.0) -> list[Message]:
        """What arrives within that time; empty where nothing does. ConnectionError where the other side has closed."""
        self.connection.settimeout(wait_s)
        try:
            data = self.connection.recv(65536)
        except (BlockingIOError, TimeoutError):
            return []
        finally:
            self.connection.settimeout(0.0)
        if not data:
            raise ConnectionAbortedError("closed by the other side")
        *whole, self._received = (self._received + data).split(b"\n")
        if max(map(len, (*whole, self._received))) > self.most_bytes:
            raise ConnectionAbortedError("no message of a rank")
        return [_parsed(line) for line in whole]

    def finish(self, wait_s: float = 1.0) -> None:
        """Close it once the other side has received all that was sent: closing earlier may discard what is on its way."""
        until = time.monotonic() + wait_s
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (left_s := until - time.monotonic()) > 0:
                self.receive(left_s)
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.close()


def _parsed(line: bytes) -> Message:
    try:
        kind, text = json.loads(line)
        return str(kind), str(text)
    except (ValueError, TypeError, RecursionError):
        raise ConnectionAbortedError("no message of a rank") from None
