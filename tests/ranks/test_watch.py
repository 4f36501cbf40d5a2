"""Each rank hears which other rank is silent, has ended or has failed; none is accused that lives."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from worldmodel.process.clock import Clock
from worldmodel.ranks import hub as hub_module
from worldmodel.ranks import member as member_module
from worldmodel.ranks import watch as watch_module
from worldmodel.ranks.hub import Hub
from worldmodel.ranks.line import Line
from worldmodel.ranks.member import Member
from worldmodel.ranks.peers import Peer, addresses, listener, named
from worldmodel.ranks.watch import Watch

PEERS = [Peer(rank, f"host{rank}", 100 + rank) for rank in range(3)]
TOKEN = "secret"


@pytest.fixture(autouse=True)
def _times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BEAT_S": 0.1, "TICK_S": 0.05, "GONE_S": 0.5, "GRACE_S": 0.3}.items():
        for module in ("watch", "hub", "member"):
            monkeypatch.setattr(f"worldmodel.ranks.{module}.{name}", value, raising=False)
    monkeypatch.setattr(member_module, "STALE_S", 0.4)
    monkeypatch.setattr(hub_module, "_FAREWELL_S", 0.2)


class Ends:
    """Which watches ended their process, in the place of os._exit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ranks: list[int] = []
        monkeypatch.setattr(Watch, "_say_and_release", lambda watch, cause: self.ranks.append(watch.me.rank))
        monkeypatch.setattr(watch_module.os, "_exit", lambda code: None)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    return Ends(monkeypatch)


@pytest.fixture
def ranks() -> Iterator[list[Watch]]:
    """Rank 0 and two others, with a limit of two seconds."""
    found = started(2.0)
    yield found
    for watch in reversed(found):
        watch.close()


def started(limit_s: float) -> list[Watch]:
    sock = listener()
    port = sock.getsockname()[1]
    hub = Hub(PEERS[0], PEERS[1:], sock, TOKEN, limit_s, "")
    members = [Member(peer, PEERS[0], [("127.0.0.1", port)], TOKEN, limit_s, "") for peer in PEERS[1:]]
    assert all(watch.start() for watch in (hub, *members))
    return [hub, *members]


def freeze(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a watch neither speak nor hear, while its connection stays open: what SIGSTOP and a cut link do."""
    name = "_exchange" if isinstance(watch, Member) else "_judged"
    done = ([], False) if isinstance(watch, Member) else None
    monkeypatch.setattr(watch, name, lambda *_: (watch._over.wait(20), done)[1])


def test_ranks_that_live_are_never_accused(ranks: list[Watch], ends: Ends):
    time.sleep(3.0)
    assert [watch.cause(0.0) for watch in ranks] == [None] * 3
    assert ends.ranks == []


def test_a_silent_rank_is_named_to_all_others_within_the_limit(ranks, ends, monkeypatch: pytest.MonkeyPatch):
    began = time.monotonic()
    freeze(ranks[2], monkeypatch)
    for watch in ranks[:2]:
        cause = watch.cause(4.0)
        assert cause is not None
        assert "rank 2 (host host2, process 102): no sign of life" in cause
        assert "rank 1" not in cause
    assert time.monotonic() - began < 2.0
    time.sleep(0.5)
    assert sorted(ends.ranks) == [0, 1]


def test_a_silent_rank_0_is_named_by_all_others(ranks, ends, monkeypatch: pytest.MonkeyPatch):
    freeze(ranks[0], monkeypatch)
    for watch in ranks[1:]:
        assert "rank 0 (host host0, process 100): no sign of life" in (watch.cause(4.0) or "")


def test_a_limit_of_zero_waits_for_ever(ends, monkeypatch: pytest.MonkeyPatch):
    ranks = started(0.0)
    freeze(ranks[2], monkeypatch)
    time.sleep(1.5)
    assert ranks[0].cause(0.0) is None
    for watch in reversed(ranks):
        watch.close()


def test_what_a_rank_fails_with_is_told_to_all_others(ranks, ends):
    ranks[1].fail("MemoryError: too large")
    for watch in (ranks[0], ranks[2]):
        assert watch.cause(2.0) == "rank 1 (host host1, process 101) failed: MemoryError: too large"
    time.sleep(0.6)
    assert sorted(ends.ranks) == [0, 2]  # both would hang in a collective


def test_what_rank_0_fails_with_is_told_to_all_others(ranks, ends):
    ranks[0].fail("DataError: gone")
    assert {watch.cause(2.0) for watch in ranks[1:]} == {"rank 0 (host host0, process 100) failed: DataError: gone"}


def test_a_main_thread_that_ends_by_itself_is_not_cut_short(ranks, ends):
    ranks[1].fail("DataError: gone")
    assert ranks[0].cause(2.0)
    ranks[0].fail("the same")  # within the grace
    time.sleep(0.6)
    assert 0 not in ends.ranks


def test_a_rank_whose_process_ended_is_found_before_the_limit(ranks, ends, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranks[1], "_connected", lambda _: (_ for _ in ()).throw(OSError("ended")))
    ranks[1]._drop()
    assert "rank 1 (host host1, process 101) ended without a word" in (ranks[0].cause(1.5) or "")


def test_a_connection_that_breaks_is_made_again(ranks, ends):
    for _ in range(3):
        ranks[1]._line.connection.shutdown(socket.SHUT_RDWR)
        time.sleep(0.5)
    assert ranks[0].cause(0.0) is None
    assert ends.ranks == []


def test_strangers_are_not_heard(ranks, ends):
    port = ranks[0]._listener.getsockname()[1]
    nested = b"[" * 16000 + b"\n"
    halloo = b'["hello", "wrong 1"]\n["failed", "x"]\n'
    for words in (b'["failed", "x"]\n', halloo, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 40000, nested, b"[" * 200 + b"\n"):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(words)
            time.sleep(0.15)
    assert ranks[0].cause(0.3) is None
    assert ends.ranks == []


def test_a_fault_of_the_watch_does_not_end_it(ranks, ends, monkeypatch: pytest.MonkeyPatch, capsys):
    judged, faults = ranks[0]._judged, ["first"]

    def fault_once(*said: object) -> object:
        if faults:
            raise ValueError(faults.pop())
        return judged(*said)

    monkeypatch.setattr(ranks[0], "_judged", fault_once)
    time.sleep(1.6)
    assert "the watch over the ranks starts again after ValueError('first')" in capsys.readouterr().err
    ranks[1].fail("MemoryError: too large")
    assert ranks[0].cause(2.0) == "rank 1 (host host1, process 101) failed: MemoryError: too large"


def test_ranks_of_one_host_are_named_together():
    peers = [Peer(rank, f"host{rank // 4}", 100 + rank) for rank in range(4, 9)]
    assert named(peers) == "ranks 4 to 7 (host host1), rank 8 (host host2, process 108)"
    assert named([peers[0], peers[2]]) == "ranks 4, 6 (host host1)"
    many = named([Peer(rank, f"host{rank}", rank) for rank in range(64)])
    assert many.endswith("rank 7 (host host7, process 7) and ranks of 56 more hosts")


def test_a_rank_that_hears_nothing_does_not_connect_again_at_every_tick(ranks, ends, monkeypatch: pytest.MonkeyPatch):
    made: list[float] = []
    connected = ranks[1]._connected
    monkeypatch.setattr(ranks[1], "_connected", lambda address: (made.append(time.monotonic()), connected(address))[1])
    monkeypatch.setattr("worldmodel.ranks.member.STALE_S", 0.5)
    freeze(ranks[0], monkeypatch)
    time.sleep(1.2)
    assert len(made) <= 3


def test_closing_is_quick_and_silent(ends):
    ranks = started(2.0)
    began = time.monotonic()
    threads = [threading.Thread(target=watch.close) for watch in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 1.0
    time.sleep(0.8)
    assert ends.ranks == []


def test_time_in_which_this_process_was_stopped_does_not_count(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr("worldmodel.process.clock.time.monotonic", lambda: now[0])
    clock = Clock()
    now[0] += 0.5
    assert clock.tick() == 0.5
    now[0] += 3600.0  # Ctrl-Z, a suspended machine
    assert clock.tick() < 5.0


def test_a_message_in_two_pieces_is_one_message():
    here, there = socket.socketpair()
    line = Line(here)
    there.sendall(b'["be')
    assert line.receive() == []
    there.sendall(b'at", ""]\n["bye", ""]\n')
    assert line.receive(1.0) == [("beat", ""), ("bye", "")]
    there.close()
    with pytest.raises(ConnectionError):
        line.receive(1.0)


def test_rank_0_is_reached_by_the_master_address_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert addresses(1234)[0] == ("127.0.0.1", 1234)
