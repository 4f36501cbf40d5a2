"""The watch of every rank but rank 0: it beats to rank 0, hears its verdicts, and judges whether rank 0 itself is silent."""

from __future__ import annotations

import contextlib
import socket
import time

from worldmodel.process.clock import Clock
from worldmodel.ranks.line import Line, Message
from worldmodel.ranks.peers import Peer
from worldmodel.ranks.watch import BEAT_S, GONE_S, GRACE_S, TICK_S, Watch, gone, orphaned, silent

STALE_S = 5.0  # without a beat on a connection, after which a new one is made: TCP tries an old one again after twice the cut
_CONNECT_S = 1.0
_START_S = 15.0  # for rank 0 to answer at the start: its host may be busy with starting all its ranks


class Member(Watch):
    """Connects to rank 0, at the first of the addresses that answers."""

    def __init__(self, me: Peer, hub: Peer, addresses: list[tuple[str, int]], token: str, limit_s: float, advice: str) -> None:
        super().__init__(me, limit_s, advice)
        self._hub, self._addresses, self._token = hub, addresses, token
        self._line: Line | None = None
        self._line_s = 0.0  # how long the connection has lasted
        self._beat_at = 0.0

    def start(self) -> bool:
        until = time.monotonic() + _START_S
        while True:
            for address in self._addresses:
                with contextlib.suppress(OSError):
                    line = self._connected(address)
                    if line.receive(_CONNECT_S):
                        self._line = line
                        self._addresses = [line.connection.getpeername()[:2]]  # a number: names may not resolve later
                        return super().start()
                    line.close()
            if time.monotonic() > until:
                return False
            time.sleep(TICK_S)

    def _watch(self) -> None:
        clock, silence_s, closed_s = Clock(), 0.0, 0.0
        while not self._over.is_set():
            messages, closed = self._exchange()
            passed_s = clock.tick()
            for kind, text in messages:
                if kind in ("silent", "failed"):
                    self._drop()
                    return self._end(text, GRACE_S if kind == "failed" else 0.0)
                if kind == "bye":
                    return self._drop()
            if self._is_orphan():
                return self._end(orphaned(self.me), 0.0)
            silence_s = 0.0 if messages else silence_s + passed_s
            self._line_s += passed_s
            closed_s = closed_s + passed_s if closed else 0.0
            if closed_s >= GONE_S:
                return self._end(gone(self._hub), GRACE_S)
            if silence_s >= self._lost_s:
                return self._end(silent([self._hub], self.limit_s), 0.0)
            if silence_s >= STALE_S and self._line_s >= STALE_S:
                self._drop()
        if self._line is not None and self._last_words is not None:
            with contextlib.suppress(OSError):
                self._line.send(*self._last_words)
            self._line.finish()
        return None

    def _exchange(self) -> tuple[list[Message], bool]:
        """Beat where one is due; what rank 0 says, and whether its host answers that nobody listens there."""
        closed = False
        try:
            if self._line is None:
                self._line = self._connected(self._addresses[0])
            if time.monotonic() >= self._beat_at:
                self._line.send("beat")
                self._beat_at = time.monotonic() + BEAT_S
            return self._line.receive(TICK_S), False
        except ConnectionError:
            closed = True
        except OSError:
            pass  # no answer: a cut link
        self._drop()
        self._over.wait(TICK_S)
        return [], closed

    def _connected(self, address: tuple[str, int]) -> Line:
        line = Line(socket.create_connection(address, timeout=_CONNECT_S))
        line.send("hello", f"{self._token} {self.me.rank}")
        self._line_s = 0.0
        return line

    def _drop(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
