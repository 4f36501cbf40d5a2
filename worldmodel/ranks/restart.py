"""How ranks that torchrun started again find one another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore
from torch.distributed.rendezvous import register_rendezvous_handler

_SCHEME = "worldmodel-attempt"
_registered: list[str] = []


def init_method() -> str | None:
    """What torch's init_process_group is told of the meeting point; None where its own way is right.

    torchrun keeps one store for all its attempts on one host. gloo would find the addresses of dead ranks there, and wait for
    them. So every attempt writes below a name of its own. Agents of several hosts count attempts apart, and are left to torch.
    """
    kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and os.environ.get("GROUP_WORLD_SIZE") == "1"
    if not kept:
        return None
    if not _registered:
        register_rendezvous_handler(_SCHEME, _met)
        _registered.append(_SCHEME)
    return f"{_SCHEME}://"


def _met(_url: str, timeout: timedelta = timedelta(minutes=30), **_: object) -> Iterator[tuple[Store, int, int]]:
    """The store, this rank and the number of ranks, as torch asks for them: once."""
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    port = int(os.environ["MASTER_PORT"])
    store = TCPStore(os.environ["MASTER_ADDR"], port, ranks, is_master=False, timeout=timeout)
    yield PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store), rank, ranks
    raise RuntimeError("these ranks cannot meet twice")
