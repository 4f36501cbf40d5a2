"""Rendezvous of ranks that torchrun restarted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore
from torch.distributed.rendezvous import register_rendezvous_handler

_SCHEME = "worldmodel-attempt"
_registered: list[str] = []


def init_method() -> str | None:
    """The `init_method` for torch's init_process_group; None for the default.

    On one host, torchrun uses the same store for all attempts. gloo would find the addresses of dead
    ranks there and wait for them. So every attempt uses a prefix of its own. Agents of several hosts
    count attempts separately; for them the default is used.
    """
    shares_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and os.environ.get("GROUP_WORLD_SIZE") == "1"
    if not shares_store:
        return None
    if not _registered:
        register_rendezvous_handler(_SCHEME, _rendezvous)
        _registered.append(_SCHEME)
    return f"{_SCHEME}://"


def _rendezvous(_url: str, timeout: timedelta = timedelta(minutes=30), **_: object) -> Iterator[tuple[Store, int, int]]:
    """Rendezvous handler of torch: yields the store, this rank and the number of ranks once."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    port = int(os.environ["MASTER_PORT"])
    store = TCPStore(os.environ["MASTER_ADDR"], port, ranks, is_master=False, timeout=timeout)
    yield PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store), rank, ranks
    raise RuntimeError("a second rendezvous of these ranks is not supported")
