"""The monitor of every rank except rank 0. It sends heartbeats to rank 0, follows its messages, and detects its silence."""

from __future__ import annotations

import contextlib
import socket
import time

from worldmodel.process.clock import Clock
from worldmodel.ranks.connection import Connection, Message
from worldmodel.ranks.monitor import (
    CLOSED_TIMEOUT_S,
    GRACE_S,
    HEARTBEAT_S,
    POLL_S,
    RankMonitor,
    describe_ended,
    describe_orphaned,
    describe_silent,
)
from worldmodel.ranks.peers import Peer

# A connection without a heartbeat for this time is replaced: TCP retries an old one only after twice the interruption.
RECONNECT_AFTER_S = 5.0
_CONNECT_TIMEOUT_S = 1.0
_START_TIMEOUT_S = 15.0  # for rank 0 to answer at the start; its host may be busy starting its ranks


class MonitorClient(RankMonitor):
    """Connects to rank 0 at the first address that answers."""

    def __init__(
        self, me: Peer, server: Peer, addresses: list[tuple[str, int]], token: str, limit_s: float, advice: str
    ) -> None:
        super().__init__(me, limit_s, advice)
        self._server, self._addresses, self._token = server, addresses, token
        self._connection: Connection | None = None
        self._connected_s = 0.0  # age of the connection
        self._next_heartbeat = 0.0

    def start(self) -> bool:
        until = time.monotonic() + _START_TIMEOUT_S
        while True:
            for address in self._addresses:
                with contextlib.suppress(OSError):
                    connection = self._connect(address)
                    if connection.receive(_CONNECT_TIMEOUT_S):
                        self._connection = connection
                        self._addresses = [connection.socket.getpeername()[:2]]  # numeric, because names may not resolve later
                        return super().start()
                    connection.close()
            if time.monotonic() > until:
                return False
            time.sleep(POLL_S)

    def _monitor(self) -> None:
        clock, silence_s, closed_s = Clock(), 0.0, 0.0
        while not self._stopped.is_set():
            messages, closed = self._exchange()
            passed_s = clock.tick()
            for kind, text in messages:
                if kind in ("silent", "failed"):
                    self._drop()
                    return self._end_process(text, GRACE_S if kind == "failed" else 0.0)
                if kind == "bye":
                    return self._drop()
            if self._is_orphan():
                return self._end_process(describe_orphaned(self.me), 0.0)
            silence_s = 0.0 if messages else silence_s + passed_s
            self._connected_s += passed_s
            closed_s = closed_s + passed_s if closed else 0.0
            if closed_s >= CLOSED_TIMEOUT_S:
                return self._end_process(describe_ended(self._server), GRACE_S)
            if silence_s >= self._lost_after_s:
                return self._end_process(describe_silent([self._server], self.limit_s), 0.0)
            if silence_s >= RECONNECT_AFTER_S and self._connected_s >= RECONNECT_AFTER_S:
                self._drop()
        if self._connection is not None and self._final_message is not None:
            with contextlib.suppress(OSError):
                self._connection.send(*self._final_message)
            self._connection.finish()
        return None

    def _exchange(self) -> tuple[list[Message], bool]:
        """Send a due heartbeat. Returns the messages of rank 0, and whether its host refuses the connection."""
        closed = False
        try:
            if self._connection is None:
                self._connection = self._connect(self._addresses[0])
            if time.monotonic() >= self._next_heartbeat:
                self._connection.send("beat")
                self._next_heartbeat = time.monotonic() + HEARTBEAT_S
            return self._connection.receive(POLL_S), False
        except ConnectionError:
            closed = True
        except OSError:
            pass  # no answer: the link is interrupted
        self._drop()
        self._stopped.wait(POLL_S)
        return [], closed

    def _connect(self, address: tuple[str, int]) -> Connection:
        connection = Connection(socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S))
        connection.send("hello", f"{self._token} {self.me.rank}")
        self._connected_s = 0.0
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
