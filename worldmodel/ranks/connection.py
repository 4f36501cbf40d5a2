"""A TCP connection for short messages, one JSON list per line. No call waits longer than its timeout."""

from __future__ import annotations

import contextlib
import json
import socket
import time

MAX_BYTES = 16384  # of one message; a longer one is not valid
HELLO_BYTES = 256  # of the first message of a connection, before its sender is known

Message = tuple[str, str]  # kind and text


class Connection:
    """One connection. Raises OSError where it is closed or broken, or a message is longer than `max_bytes`."""

    def __init__(self, connection: socket.socket, max_bytes: int = MAX_BYTES) -> None:
        self.socket, self.max_bytes = connection, max_bytes
        self._received = b""
        connection.settimeout(0.0)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, kind: str, text: str = "") -> None:
        """Pass a message to the operating system. It is dropped where the buffer is full (an interrupted link)."""
        data = json.dumps([kind, text[: MAX_BYTES // 16]]).encode() + b"\n"
        with contextlib.suppress(BlockingIOError):
            self.socket.send(data)

    def receive(self, wait_s: float = 0.0) -> list[Message]:
        """Messages that arrive within this time. Raises ConnectionError where the other side has closed."""
        self.socket.settimeout(wait_s)
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, TimeoutError):
            return []
        finally:
            self.socket.settimeout(0.0)
        if not data:
            raise ConnectionAbortedError("closed by the other side")
        *whole, self._received = (self._received + data).split(b"\n")
        if max(map(len, (*whole, self._received))) > self.max_bytes:
            raise ConnectionAbortedError("received data that is not a message of a rank")
        return [_parse_message(line) for line in whole]

    def finish(self, wait_s: float = 1.0) -> None:
        """Close after the other side has received all messages. An earlier close may discard them."""
        until = time.monotonic() + wait_s
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            while (left_s := until - time.monotonic()) > 0:
                self.receive(left_s)
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()


def _parse_message(line: bytes) -> Message:
    try:
        kind, text = json.loads(line)
        return str(kind), str(text)
    except (ValueError, TypeError, RecursionError):
        raise ConnectionAbortedError("received data that is not a message of a rank") from None
