"""Start and stop the monitors of all ranks around a training."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch import distributed

from worldmodel.ranks.monitor import CLOSED_TIMEOUT_S, RankMonitor
from worldmodel.ranks.monitor_client import MonitorClient
from worldmodel.ranks.monitor_server import MonitorServer
from worldmodel.ranks.peers import Peer, candidate_addresses, open_listener


class RankError(RuntimeError):
    """Another rank is silent, has ended or has failed. The message says which one, and how."""


@contextmanager
def monitor_ranks(processes: Accelerator | PartialState, timeout_s: float, advice: str = "") -> Iterator[RankMonitor]:
    """Monitor all ranks while the context is active. An exception of this rank ends the other ranks too.

    timeout_s: a rank without heartbeats for this time counts as lost; 0 waits for ever. advice: what
    the user can do then, for work without checkpoints.

    An error of a collective usually means that another rank has ended. Then RankError names it.
    """
    monitor = _start_monitor(processes, timeout_s, advice)
    try:
        yield monitor
    except Exception as error:
        if _is_collective_error(error) and (cause := monitor.wait_for_cause(CLOSED_TIMEOUT_S + 2)):
            monitor.fail(cause)
            raise RankError(f"{cause}. {monitor.resume_advice()}") from error
        monitor.fail(f"{type(error).__name__}: {error}")
        raise
    except BaseException as error:
        monitor.fail("stopped by Ctrl-C" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
        raise
    finally:
        monitor.close()


def _start_monitor(processes: Accelerator | PartialState, timeout_s: float, advice: str) -> RankMonitor:
    me = Peer.this_process(processes.process_index)
    if processes.num_processes == 1:
        return RankMonitor(me)
    peers: list[Peer] = gather_object([me])
    socket = open_listener() if processes.is_main_process else None
    monitor: RankMonitor | None = None
    endpoint: tuple[list[tuple[str, int]], str] | None = None
    if socket:
        endpoint = candidate_addresses(socket.getsockname()[1]), secrets.token_hex(16)
        monitor = MonitorServer(me, [peer for peer in peers if peer.rank], socket, endpoint[1], timeout_s, advice)
        monitor.start()
    (addresses, token) = broadcast_object_list([endpoint])[0]
    if monitor is None:
        monitor = MonitorClient(me, peers[0], addresses, token, timeout_s, advice)
        reached = gather_object([monitor.start()])
    else:
        reached = gather_object([True])
    if processes.is_main_process and not all(reached):
        absent = ", ".join(str(peer) for peer, found in zip(peers, reached, strict=True) if not found)
        print(
            f"warning: {absent} cannot connect to rank 0 at {', '.join(f'{host}:{port}' for host, port in addresses)}; if one "
            "of them hangs, the others do not detect it. Open this port, or set MASTER_ADDR to an address of rank 0's host",
            file=sys.stderr,
        )
    return monitor


def _is_collective_error(error: Exception) -> bool:
    """Whether communication between ranks raised the error. gloo has no error type of its own."""
    return isinstance(error, distributed.DistError) or (
        type(error) is RuntimeError and any(word in str(error) for word in ("gloo", "NCCL", "Connection closed by peer"))
    )
