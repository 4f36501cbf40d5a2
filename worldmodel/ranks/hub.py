"""The watch of rank 0: it hears all others, and tells them who is silent, has ended or has failed."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from dataclasses import dataclass

from worldmodel.process.clock import Clock
from worldmodel.ranks.line import HELLO_BYTES, MAX_BYTES, Line, Message
from worldmodel.ranks.peers import Peer
from worldmodel.ranks.watch import BEAT_S, GONE_S, GRACE_S, TICK_S, Watch, failed, gone, orphaned, silent

_FAREWELL_S = 1.0  # for what was sent to arrive
_TOGETHER_S = 5.0  # ranks whose silence began within so many seconds are named together: they share a host or a link


@dataclass
class _Rank:
    peer: Peer
    line: Line | None = None  # None before its first message, and while its connection is closed
    heard: bool = False  # a rank that never could connect is not judged
    silence_s: float = 0.0
    closed_s: float = 0.0


class Hub(Watch):
    """Listens on a socket; only who knows the token is heard."""

    def __init__(self, me: Peer, others: list[Peer], listener: socket.socket, token: str, limit_s: float, advice: str) -> None:
        super().__init__(me, limit_s, advice)
        self._listener, self._token = listener, token
        self._ranks = {peer.rank: _Rank(peer) for peer in others}
        self._strangers: list[Line] = []  # connections that have not said yet who they are
        self._beat_at = 0.0

    def _watch(self) -> None:
        clock = Clock()
        with selectors.DefaultSelector() as selector:
            self._listener.setblocking(False)
            selector.register(self._listener, selectors.EVENT_READ)
            for line in self._lines():
                selector.register(line, selectors.EVENT_READ)
            while not self._over.is_set():
                ready = {key.fd for key, _ in selector.select(TICK_S)}
                if self._listener.fileno() in ready:
                    self._accept(selector)
                said = [pair for line in self._lines() if line.fileno() in ready for pair in self._heard(line, selector)]
                verdict = self._judged(said, clock.tick())
                if verdict is not None:
                    (kind, text), grace_s = verdict
                    self._say((kind, text))
                    self._farewell()
                    return self._end(text, grace_s)
                if time.monotonic() >= self._beat_at:
                    self._beat_at = time.monotonic() + BEAT_S
                    self._say(("beat", ""))
        if self._last_words is not None:
            kind, text = self._last_words
            self._say((kind, failed(self.me, text) if kind == "failed" else text))
        self._farewell()
        return None

    def _judged(self, said: list[tuple[_Rank, str]], passed_s: float) -> tuple[Message, float] | None:
        """What to tell all ranks, and the grace that their main threads have; None while all is well."""
        if self._is_orphan():
            return ("silent", orphaned(self.me)), 0.0
        for rank, why in said:
            return ("failed", failed(rank.peer, why)), GRACE_S
        judged = [rank for rank in self._ranks.values() if rank.heard]
        for rank in judged:
            rank.silence_s += passed_s
            rank.closed_s = rank.closed_s + passed_s if rank.line is None else 0.0
        for rank in judged:
            if rank.closed_s >= GONE_S:
                return ("failed", gone(rank.peer)), GRACE_S
        if any(rank.silence_s >= self._lost_s for rank in judged):
            lost = [rank.peer for rank in judged if rank.silence_s >= max(self._lost_s - _TOGETHER_S, self._lost_s / 2)]
            return ("silent", silent(lost, self.limit_s)), 0.0
        return None

    def _heard(self, line: Line, selector: selectors.BaseSelector) -> list[tuple[_Rank, str]]:
        """Take note of what came over a connection; ranks that failed, with the reason."""
        rank = next((rank for rank in self._ranks.values() if rank.line is line), None)
        try:
            messages = line.receive()
        except OSError:
            self._drop(line, selector)
            return []
        failures = []
        for kind, text in messages:
            if rank is None:
                rank = self._introduced(line, kind, text, selector)
                if rank is None:
                    self._drop(line, selector)
                    return []
            rank.silence_s = 0.0
            if kind == "failed":
                failures.append((rank, text))
            elif kind == "bye":
                rank.heard = False
        return failures

    def _introduced(self, line: Line, kind: str, text: str, selector: selectors.BaseSelector) -> _Rank | None:
        """The rank that a new connection belongs to; its older connection is given up."""
        token, _, number = text.partition(" ")
        if kind != "hello" or token != self._token or not number.isdecimal() or int(number) not in self._ranks:
            return None
        rank = self._ranks[int(number)]
        if rank.line is not None:
            self._drop(rank.line, selector)
        self._strangers.remove(line)
        rank.line, rank.heard, line.most_bytes = line, True, MAX_BYTES
        with contextlib.suppress(OSError):
            line.send("beat")
        return rank

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # no file descriptor is free: the connection stays in the queue, and is looked at later
            self._over.wait(TICK_S)
            return
        line = Line(connection, HELLO_BYTES)
        self._strangers.append(line)
        selector.register(line, selectors.EVENT_READ)

    def _drop(self, line: Line, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(KeyError, ValueError):
            selector.unregister(line)
        line.close()
        self._strangers = [stranger for stranger in self._strangers if stranger is not line]
        for rank in self._ranks.values():
            if rank.line is line:
                rank.line = None

    def _lines(self) -> list[Line]:
        return [*self._strangers, *(rank.line for rank in self._ranks.values() if rank.line is not None)]

    def _say(self, message: Message) -> None:
        for rank in self._ranks.values():
            if rank.line is not None:
                with contextlib.suppress(OSError):  # a broken connection is found when it is read
                    rank.line.send(*message)

    def _farewell(self) -> None:
        """Close all connections, once what was sent has arrived or a second has passed."""
        until = time.monotonic() + _FAREWELL_S
        for line in self._lines():
            with contextlib.suppress(OSError):
                line.connection.shutdown(socket.SHUT_WR)
        for line in self._lines():
            line.finish(max(0.0, until - time.monotonic()))
        self._listener.close()
