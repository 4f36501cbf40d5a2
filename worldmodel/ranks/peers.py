"""The ranks of a training, and the network addresses of rank 0."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """One rank: its host and its process."""

    rank: int
    host: str
    pid: int

    def __str__(self) -> str:
        return f"rank {self.rank} (host {self.host}, process {self.pid})"

    @classmethod
    def this_process(cls, rank: int) -> Peer:
        return cls(rank, socket.gethostname(), os.getpid())


def format_peers(peers: list[Peer]) -> str:
    """Names of ranks, grouped by host; at most eight hosts and the number of the others."""
    hosts: dict[str, list[Peer]] = {}
    for peer in peers:
        hosts.setdefault(peer.host, []).append(peer)
    names = [str(some[0]) if len(some) == 1 else f"ranks {_format_ranks(some)} (host {host})" for host, some in hosts.items()]
    return ", ".join(names[:8]) + (f" and ranks of {len(names) - 8} more hosts" if len(names) > 8 else "")


def _format_ranks(peers: list[Peer]) -> str:
    ranks = sorted(peer.rank for peer in peers)
    is_range = len(ranks) > 2 and ranks[-1] - ranks[0] == len(ranks) - 1
    return f"{ranks[0]} to {ranks[-1]}" if is_range else ", ".join(map(str, ranks))


def open_listener() -> socket.socket:
    """Open a socket on a free port, on all addresses of this machine."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # IPv6 may be compiled in but disabled
            return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    return socket.create_server(("", 0), backlog=1024)


def candidate_addresses(port: int) -> list[tuple[str, int]]:
    """Addresses of this process, the most likely first.

    These are MASTER_ADDR, the local address of the route to it, and the name of this host. With most
    launchers MASTER_ADDR is the host of rank 0. Where torchrun's rendezvous is on another host, it is
    that host.
    """
    master = os.environ.get("MASTER_ADDR", "127.0.0.1")
    hosts = [master]
    with contextlib.suppress(OSError):
        family = socket.getaddrinfo(master, port, type=socket.SOCK_DGRAM)[0][0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((master, port))  # sends nothing; it only selects the local address
            hosts.append(probe.getsockname()[0])
    return [(host, port) for host in dict.fromkeys((*hosts, socket.gethostname()))]
