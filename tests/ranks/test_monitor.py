"""Each rank learns which other rank is silent, has ended or has failed; running ranks are never reported."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from worldmodel.process.clock import Clock
from worldmodel.ranks import monitor as monitor_module
from worldmodel.ranks import monitor_client, monitor_server
from worldmodel.ranks.connection import Connection
from worldmodel.ranks.monitor import RankMonitor
from worldmodel.ranks.monitor_client import MonitorClient
from worldmodel.ranks.monitor_server import MonitorServer
from worldmodel.ranks.peers import Peer, candidate_addresses, format_peers, open_listener

PEERS = [Peer(rank, f"host{rank}", 100 + rank) for rank in range(3)]
TOKEN = "secret"


@pytest.fixture(autouse=True)
def _times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HEARTBEAT_S": 0.1, "POLL_S": 0.05, "CLOSED_TIMEOUT_S": 0.5, "GRACE_S": 0.3}.items():
        for module in ("monitor", "monitor_server", "monitor_client"):
            monkeypatch.setattr(f"worldmodel.ranks.{module}.{name}", value, raising=False)
    monkeypatch.setattr(monitor_client, "RECONNECT_AFTER_S", 0.4)
    monkeypatch.setattr(monitor_server, "_CLOSE_TIMEOUT_S", 0.2)


class Ends:
    """Records which monitors would have ended their process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ranks: list[int] = []
        monkeypatch.setattr(RankMonitor, "_report_and_release", lambda monitor, cause: self.ranks.append(monitor.me.rank))
        monkeypatch.setattr(monitor_module.os, "_exit", lambda code: None)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    return Ends(monkeypatch)


@pytest.fixture
def ranks() -> Iterator[list[RankMonitor]]:
    """Monitors of rank 0 and two other ranks, with a limit of two seconds."""
    found = started(2.0)
    yield found
    for monitor in reversed(found):
        monitor.close()


def started(limit_s: float) -> list[RankMonitor]:
    sock = open_listener()
    port = sock.getsockname()[1]
    server = MonitorServer(PEERS[0], PEERS[1:], sock, TOKEN, limit_s, "")
    clients = [MonitorClient(peer, PEERS[0], [("127.0.0.1", port)], TOKEN, limit_s, "") for peer in PEERS[1:]]
    assert all(monitor.start() for monitor in (server, *clients))
    return [server, *clients]


def freeze(monitor: RankMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a monitor neither send nor receive while its connection stays open, as with SIGSTOP or an interrupted link."""
    name = "_exchange" if isinstance(monitor, MonitorClient) else "_verdict"
    done = ([], False) if isinstance(monitor, MonitorClient) else None
    monkeypatch.setattr(monitor, name, lambda *_: (monitor._stopped.wait(20), done)[1])


def test_running_ranks_are_never_reported(ranks: list[RankMonitor], ends: Ends):
    time.sleep(3.0)
    assert [monitor.wait_for_cause(0.0) for monitor in ranks] == [None] * 3
    assert ends.ranks == []


def test_a_silent_rank_is_named_to_all_others_within_the_limit(ranks, ends, monkeypatch: pytest.MonkeyPatch):
    began = time.monotonic()
    freeze(ranks[2], monkeypatch)
    for monitor in ranks[:2]:
        cause = monitor.wait_for_cause(4.0)
        assert cause is not None
        assert "rank 2 (host host2, process 102): no heartbeat" in cause
        assert "rank 1" not in cause
    assert time.monotonic() - began < 3.0  # the limit is 2 s; a busy machine adds to it
    time.sleep(0.5)
    assert sorted(ends.ranks) == [0, 1]


def test_a_silent_rank_0_is_named_by_all_others(ranks, ends, monkeypatch: pytest.MonkeyPatch):
    freeze(ranks[0], monkeypatch)
    for monitor in ranks[1:]:
        assert "rank 0 (host host0, process 100): no heartbeat" in (monitor.wait_for_cause(4.0) or "")


def test_a_limit_of_zero_waits_for_ever(ends, monkeypatch: pytest.MonkeyPatch):
    ranks = started(0.0)
    freeze(ranks[2], monkeypatch)
    time.sleep(1.5)
    assert ranks[0].wait_for_cause(0.0) is None
    for monitor in reversed(ranks):
        monitor.close()


def test_the_failure_of_a_rank_is_sent_to_all_others(ranks, ends):
    ranks[1].fail("MemoryError: too large")
    for monitor in (ranks[0], ranks[2]):
        assert monitor.wait_for_cause(2.0) == "rank 1 (host host1, process 101) failed: MemoryError: too large"
    time.sleep(0.6)
    assert sorted(ends.ranks) == [0, 2]  # both would hang in a collective


def test_the_failure_of_rank_0_is_sent_to_all_others(ranks, ends):
    ranks[0].fail("DataError: gone")
    assert {monitor.wait_for_cause(2.0) for monitor in ranks[1:]} == {
        "rank 0 (host host0, process 100) failed: DataError: gone"
    }


def test_a_main_thread_may_end_by_itself_within_the_grace_period(ranks, ends):
    ranks[1].fail("DataError: gone")
    assert ranks[0].wait_for_cause(2.0)
    ranks[0].fail("the same")  # within the grace period
    time.sleep(0.6)
    assert 0 not in ends.ranks


def test_a_rank_whose_process_ended_is_reported_before_the_limit(ranks, ends, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranks[1], "_connect", lambda _: (_ for _ in ()).throw(OSError("ended")))
    ranks[1]._drop()
    assert "rank 1 (host host1, process 101) ended without an error message" in (ranks[0].wait_for_cause(1.5) or "")


def test_a_broken_connection_is_replaced(ranks, ends):
    for _ in range(3):
        ranks[1]._connection.socket.shutdown(socket.SHUT_RDWR)
        time.sleep(0.5)
    assert ranks[0].wait_for_cause(0.0) is None
    assert ends.ranks == []


def test_messages_of_unknown_senders_are_ignored(ranks, ends):
    port = ranks[0]._listener.getsockname()[1]
    nested = b"[" * 16000 + b"\n"
    greeting = b'["hello", "wrong 1"]\n["failed", "x"]\n'
    for message in (b'["failed", "x"]\n', greeting, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 40000, nested, b"[" * 200 + b"\n"):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(message)
            time.sleep(0.15)
    assert ranks[0].wait_for_cause(0.3) is None
    assert ends.ranks == []


def test_an_error_in_the_monitor_does_not_end_it(ranks, ends, monkeypatch: pytest.MonkeyPatch, capsys):
    monitored, faults = ranks[0]._verdict, ["first"]

    def fault_once(*arguments: object) -> object:
        if faults:
            raise ValueError(faults.pop())
        return monitored(*arguments)

    monkeypatch.setattr(ranks[0], "_verdict", fault_once)
    time.sleep(1.6)
    assert "the rank monitor restarts after ValueError('first')" in capsys.readouterr().err
    ranks[1].fail("MemoryError: too large")
    assert ranks[0].wait_for_cause(2.0) == "rank 1 (host host1, process 101) failed: MemoryError: too large"


def test_ranks_of_one_host_are_named_together():
    peers = [Peer(rank, f"host{rank // 4}", 100 + rank) for rank in range(4, 9)]
    assert format_peers(peers) == "ranks 4 to 7 (host host1), rank 8 (host host2, process 108)"
    assert format_peers([peers[0], peers[2]]) == "ranks 4, 6 (host host1)"
    many = format_peers([Peer(rank, f"host{rank}", rank) for rank in range(64)])
    assert many.endswith("rank 7 (host host7, process 7) and ranks of 56 more hosts")


def test_a_rank_without_answers_does_not_reconnect_at_every_poll(ranks, ends, monkeypatch: pytest.MonkeyPatch):
    made: list[float] = []
    connected = ranks[1]._connect
    monkeypatch.setattr(ranks[1], "_connect", lambda address: (made.append(time.monotonic()), connected(address))[1])
    monkeypatch.setattr("worldmodel.ranks.monitor_client.RECONNECT_AFTER_S", 0.5)
    freeze(ranks[0], monkeypatch)
    time.sleep(1.2)
    assert len(made) <= 3


def test_closing_is_quick_and_silent(ends):
    ranks = started(2.0)
    began = time.monotonic()
    threads = [threading.Thread(target=monitor.close) for monitor in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 1.8
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
    connection = Connection(here)
    there.sendall(b'["be')
    assert connection.receive() == []
    there.sendall(b'at", ""]\n["bye", ""]\n')
    assert connection.receive(1.0) == [("beat", ""), ("bye", "")]
    there.close()
    with pytest.raises(ConnectionError):
        connection.receive(1.0)


def test_rank_0_is_reached_by_the_master_address_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert candidate_addresses(1234)[0] == ("127.0.0.1", 1234)
