"""Ranks that torchrun restarts in any order begin the same attempt, each with processes that still run."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import launch
import pytest
from torch.distributed import Store, TCPStore

from worldmodel.ranks import rendezvous
from worldmodel.ranks.rendezvous import agree_on_attempt, init_method

RANKS = 3
WAIT_S = 20


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., "Future[int]"]]:
    """Start a process of a rank, here a thread with a connection of its own to the one store that torchrun keeps."""
    monkeypatch.setattr(rendezvous, "_POLL", timedelta(seconds=0.05))
    server = TCPStore("127.0.0.1", 0, RANKS, is_master=True, wait_for_workers=False)
    threads = ThreadPoolExecutor(12)

    def started(rank: int, wait_s: float = WAIT_S, wrap: Callable[[Store], Store] = lambda store: store) -> "Future[int]":
        store = wrap(TCPStore("127.0.0.1", server.port, RANKS, is_master=False))
        return threads.submit(agree_on_attempt, store, rank, RANKS, timedelta(seconds=wait_s))

    yield started
    threads.shutdown()


class DyingStore(Store):
    """The connection of a process that ends when it is asked for the second time."""

    def __init__(self, store: Store, ended: threading.Event) -> None:
        super().__init__()
        self._store, self._ended = store, ended

    def add(self, key: str, value: int) -> int:
        return self._store.add(key, value)

    def check(self, keys: list[str]) -> bool:
        return self._store.check(keys)

    def set(self, key: str, value: str) -> None:
        if "confirmed" in key:
            raise ConnectionError("killed")
        self._store.set(key, value)
        self._ended.set()

    def wait(self, keys: list[str], timeout: timedelta) -> None:
        self._store.wait(keys, timeout)


def results(*processes: "Future[int]") -> list[int]:
    return [process.result(WAIT_S) for process in processes]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_all_ranks_begin_the_next_attempt_in_whatever_order_they_are_restarted(start, order: tuple[int, ...]):
    assert results(*map(start, order)) == [1, 1, 1]
    early = start(order[0])
    assert not early.done(), "the processes of the first attempt are not joined again"
    assert results(early, *map(start, order[1:])) == [2, 2, 2]


def test_a_rank_that_is_restarted_several_times_meets_the_others(start):
    assert results(*map(start, range(RANKS))) == [1, 1, 1]
    given_up = start(1, wait_s=0.2)  # the agent of its host counts one more restart than the others
    with pytest.raises(TimeoutError, match="rank 1 waited in vain for the process of rank 0"):
        given_up.result(WAIT_S)
    assert results(*map(start, (1, 2, 0))) == [2, 2, 2]


def test_ranks_that_wait_follow_a_rank_0_that_is_restarted(start):
    waiting = start(1)
    lost = start(0, wait_s=1.0)  # rank 2 is missing
    with pytest.raises(TimeoutError, match=r"rank 0 waited in vain for the processes of ranks 2$"):
        lost.result(WAIT_S)
    assert results(waiting, start(2), start(0)) == [2, 2, 2]


def test_a_process_that_ended_while_it_waited_is_replaced_by_the_next_one(start):
    ended = threading.Event()
    dying = start(1, wrap=lambda store: DyingStore(store, ended))
    others = start(0), start(2)
    assert ended.wait(WAIT_S)
    with pytest.raises(ConnectionError, match="killed"):
        dying.result(WAIT_S)
    assert not any(other.done() for other in others)
    assert results(*others, start(1)) == [1, 1, 1]


def test_only_ranks_that_torchrun_started_use_its_store(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    assert init_method() is None
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    assert str(init_method()).startswith("worldmodel-attempt")


RESTARTED_GROUPS = """
import os, signal, sys, time
from datetime import timedelta
import torch.distributed as dist
from worldmodel.ranks.rendezvous import init_method

signal.alarm(40)  # without attempts of their own, they would wait for each other
server = dist.TCPStore("127.0.0.1", 0, 2, is_master=True, wait_for_workers=False)  # of the agent of host 0, for all attempts
os.environ |= {"WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "127.0.0.1",
               "MASTER_PORT": str(server.port), "GLOO_SOCKET_IFNAME": "lo"}

def start(rank):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.environ["RANK"] = str(rank)
        code = 1
        try:
            dist.init_process_group("gloo", init_method=init_method(), timeout=timedelta(seconds=20))
            dist.barrier()
            os.write(write, b"x")
            time.sleep(60)
        finally:
            os._exit(code)
    os.close(write)
    return pid, read

def met(process):
    return os.read(process[1], 1) == b"x"

def kill(process):
    os.kill(process[0], signal.SIGKILL)
    os.waitpid(process[0], 0)

first = [start(0), start(1)]
assert all(map(met, first))
for process in first:
    kill(process)
second = start(1)  # the agent of host 1 restarts its rank first,
time.sleep(0.5)
kill(second)
third = start(1)  # and once more
time.sleep(0.5)
again = [start(0), third]
found = list(map(met, again))
for process in again:
    kill(process)
assert all(found), found
"""


def test_processes_of_two_hosts_meet_again_in_gloo_where_rank_1_is_restarted_first():
    process = launch.run([sys.executable, "-c", RESTARTED_GROUPS], timeout=60)
    assert process.returncode == 0, process.stderr
