"""Rendezvous of ranks that torchrun restarts, on one host or on several."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta

from torch.distributed import DistStoreError, PrefixStore, Store, TCPStore
from torch.distributed.rendezvous import register_rendezvous_handler

_SCHEME = "worldmodel-attempt"
_POLL = timedelta(seconds=1)  # how often a rank looks whether rank 0 was started again
_MAX_NAMED = 8  # ranks in a message
_registered: list[str] = []


def init_method() -> str | None:
    """The `init_method` for torch's init_process_group; None for the default.

    torchrun uses the same store for all attempts, also on several hosts. gloo would find the addresses
    of ended processes there, and wait for them or be refused. So every attempt has keys of its own.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    if not _registered:
        register_rendezvous_handler(_SCHEME, _rendezvous)
        _registered.append(_SCHEME)
    return f"{_SCHEME}://"


def agree_on_attempt(store: Store, rank: int, ranks: int, timeout: timedelta) -> int:
    """The number of the attempt that the present processes of all ranks begin together, counted from 1.

    torchrun's own count of restarts cannot be used: the agent of each host counts its own restarts,
    and the hosts restart in any order. Rank 0 gives the number, a new one whenever it is started, and
    begins when all other ranks have joined. Then it asks them once more, because a process that has
    joined may have ended meanwhile: torchrun starts another one, which joins the same attempt.

    Every process calls this once. Raises TimeoutError where other ranks are missing after `timeout`.
    """
    until = time.monotonic() + timeout.total_seconds()
    return _begin_attempt(store, ranks, until) if rank == 0 else _join_attempt(store, rank, until)


def _begin_attempt(store: Store, ranks: int, until: float) -> int:
    """The part of rank 0."""
    attempt = store.add("attempts", 1)
    for request, answer in (("join", "joined"), ("confirm", "confirmed")):
        store.set(f"{attempt}/{request}", "")
        keys = [f"{attempt}/{answer}/{rank}" for rank in range(1, ranks)]
        if keys and not _is_set(store, keys, timedelta(seconds=max(1.0, until - time.monotonic()))):
            missing = [str(rank) for rank, key in enumerate(keys, start=1) if not store.check([key])]
            more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
            raise TimeoutError(f"rank 0 waited in vain for the processes of ranks {', '.join(missing[:_MAX_NAMED])}{more}")
    store.set(f"{attempt}/begin", "")
    return attempt


def _join_attempt(store: Store, rank: int, until: float) -> int:
    """The part of the other ranks. An attempt that had begun before this process was started is that of its predecessor."""
    last = store.add("attempts", 0)
    begun = last if store.check([f"{last}/begin"]) else last - 1
    while time.monotonic() < until:
        attempt = store.add("attempts", 0)
        if attempt <= max(begun, 0):
            time.sleep(_POLL.total_seconds())
            continue
        store.set(f"{attempt}/joined/{rank}", "")
        if _is_set(store, [f"{attempt}/confirm"], _POLL):
            store.set(f"{attempt}/confirmed/{rank}", "")
            if _is_set(store, [f"{attempt}/begin"], _POLL):
                return attempt
    raise TimeoutError(f"rank {rank} waited in vain for the process of rank 0")


def _is_set(store: Store, keys: list[str], wait: timedelta) -> bool:
    """Whether all keys are set, at the latest after this time."""
    try:
        store.wait(keys, wait)
    except DistStoreError:
        return False
    return True


def _rendezvous(_url: str, timeout: timedelta = timedelta(minutes=30), **_: object) -> Iterator[tuple[Store, int, int]]:
    """Rendezvous handler of torch: yields the store, this rank and the number of ranks once."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    port = int(os.environ["MASTER_PORT"])
    store = TCPStore(os.environ["MASTER_ADDR"], port, ranks, is_master=False, timeout=timeout)
    attempt = agree_on_attempt(PrefixStore("worldmodel", store), rank, ranks, timeout)
    yield PrefixStore(f"attempt_{attempt}", store), rank, ranks
    raise RuntimeError("a second rendezvous of these ranks is not supported")
