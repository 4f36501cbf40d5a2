"""The monitor of rank 0. It receives heartbeats of all ranks and tells them which rank is silent, has ended or has failed."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from dataclasses import dataclass

from worldmodel.process.clock import Clock
from worldmodel.ranks.connection import HELLO_BYTES, MAX_BYTES, Connection, Message
from worldmodel.ranks.monitor import (
    CLOSED_TIMEOUT_S,
    GRACE_S,
    HEARTBEAT_S,
    POLL_S,
    RankMonitor,
    describe_ended,
    describe_failed,
    describe_orphaned,
    describe_silent,
)
from worldmodel.ranks.peers import Peer

_CLOSE_TIMEOUT_S = 1.0  # how long to wait until sent messages have arrived
_SAME_CAUSE_S = 5.0  # ranks that became silent within this time are named together: they share a host or a link


@dataclass
class _RankState:
    peer: Peer
    connection: Connection | None = None  # None before its first message, and while its connection is closed
    is_monitored: bool = False  # False for a rank that never connected or has finished
    silence_s: float = 0.0
    closed_s: float = 0.0


class MonitorServer(RankMonitor):
    """Listens on a socket and accepts only connections that send the token."""

    def __init__(self, me: Peer, others: list[Peer], listener: socket.socket, token: str, limit_s: float, advice: str) -> None:
        super().__init__(me, limit_s, advice)
        self._listener, self._token = listener, token
        self._ranks = {peer.rank: _RankState(peer) for peer in others}
        self._unidentified: list[Connection] = []  # connections that have not sent their rank yet
        self._next_heartbeat = 0.0

    def _monitor(self) -> None:
        clock = Clock()
        with selectors.DefaultSelector() as selector:
            self._listener.setblocking(False)
            selector.register(self._listener, selectors.EVENT_READ)
            for connection in self._connections():
                selector.register(connection, selectors.EVENT_READ)
            while not self._stopped.is_set():
                ready = {key.fd for key, _ in selector.select(POLL_S)}
                if self._listener.fileno() in ready:
                    self._accept(selector)
                readable = [connection for connection in self._connections() if connection.fileno() in ready]
                failures = [failure for connection in readable for failure in self._handle_messages(connection, selector)]
                verdict = self._verdict(failures, clock.tick())
                if verdict is not None:
                    (kind, text), grace_s = verdict
                    self._broadcast((kind, text))
                    self._close_connections()
                    return self._end_process(text, grace_s)
                if time.monotonic() >= self._next_heartbeat:
                    self._next_heartbeat = time.monotonic() + HEARTBEAT_S
                    self._broadcast(("beat", ""))
        if self._final_message is not None:
            kind, text = self._final_message
            self._broadcast((kind, describe_failed(self.me, text) if kind == "failed" else text))
        self._close_connections()
        return None

    def _verdict(self, failures: list[tuple[_RankState, str]], passed_s: float) -> tuple[Message, float] | None:
        """The message for all ranks and the grace period of their main threads; None while no rank has a problem."""
        if self._is_orphan():
            return ("silent", describe_orphaned(self.me)), 0.0
        for rank, reason in failures:
            return ("failed", describe_failed(rank.peer, reason)), GRACE_S
        monitored = [rank for rank in self._ranks.values() if rank.is_monitored]
        for rank in monitored:
            rank.silence_s += passed_s
            rank.closed_s = rank.closed_s + passed_s if rank.connection is None else 0.0
        for rank in monitored:
            if rank.closed_s >= CLOSED_TIMEOUT_S:
                return ("failed", describe_ended(rank.peer)), GRACE_S
        if any(rank.silence_s >= self._lost_after_s for rank in monitored):
            least_s = max(self._lost_after_s - _SAME_CAUSE_S, self._lost_after_s / 2)
            lost = [rank.peer for rank in monitored if rank.silence_s >= least_s]
            return ("silent", describe_silent(lost, self.limit_s)), 0.0
        return None

    def _handle_messages(self, connection: Connection, selector: selectors.BaseSelector) -> list[tuple[_RankState, str]]:
        """Receive the messages of a connection. Returns ranks that failed, with the reason."""
        rank = next((rank for rank in self._ranks.values() if rank.connection is connection), None)
        try:
            messages = connection.receive()
        except OSError:
            self._drop(connection, selector)
            return []
        failures = []
        for kind, text in messages:
            if rank is None:
                rank = self._identify(connection, kind, text, selector)
                if rank is None:
                    self._drop(connection, selector)
                    return []
            rank.silence_s = 0.0
            if kind == "failed":
                failures.append((rank, text))
            elif kind == "bye":
                rank.is_monitored = False
        return failures

    def _identify(self, connection: Connection, kind: str, text: str, selector: selectors.BaseSelector) -> _RankState | None:
        """The rank of a new connection, whose older connection is closed; None where the greeting is not valid."""
        token, _, number = text.partition(" ")
        if kind != "hello" or token != self._token or not number.isdecimal() or int(number) not in self._ranks:
            return None
        rank = self._ranks[int(number)]
        if rank.connection is not None:
            self._drop(rank.connection, selector)
        self._unidentified.remove(connection)
        rank.connection, rank.is_monitored, connection.max_bytes = connection, True, MAX_BYTES
        with contextlib.suppress(OSError):
            connection.send("beat")
        return rank

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:  # no file descriptor is free: the connection stays in the queue until the next attempt
            self._stopped.wait(POLL_S)
            return
        connection = Connection(sock, HELLO_BYTES)
        self._unidentified.append(connection)
        selector.register(connection, selectors.EVENT_READ)

    def _drop(self, connection: Connection, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(KeyError, ValueError):
            selector.unregister(connection)
        connection.close()
        self._unidentified = [other for other in self._unidentified if other is not connection]
        for rank in self._ranks.values():
            if rank.connection is connection:
                rank.connection = None

    def _connections(self) -> list[Connection]:
        return [*self._unidentified, *(rank.connection for rank in self._ranks.values() if rank.connection is not None)]

    def _broadcast(self, message: Message) -> None:
        for rank in self._ranks.values():
            if rank.connection is not None:
                with contextlib.suppress(OSError):  # a broken connection is detected when it is read
                    rank.connection.send(*message)

    def _close_connections(self) -> None:
        """Close all connections after sent messages have arrived, at the latest after one second."""
        until = time.monotonic() + _CLOSE_TIMEOUT_S
        for connection in self._connections():
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
        for connection in self._connections():
            connection.finish(max(0.0, until - time.monotonic()))
        self._listener.close()
