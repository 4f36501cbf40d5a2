"""Start and stop the watch of all ranks around a training."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch import distributed

from worldmodel.ranks.hub import Hub
from worldmodel.ranks.member import Member
from worldmodel.ranks.peers import Peer, addresses, listener
from worldmodel.ranks.watch import GONE_S, Watch


class RankError(RuntimeError):
    """Another rank is silent, has ended or has failed; says which, and how."""


@contextmanager
def watched(processes: Accelerator | PartialState, silent_s: float, advice: str = "") -> Iterator[Watch]:
    """Watch over all ranks meanwhile. What this rank raises is told to the others, which then end as well.

    silent_s: silence after which a rank counts as lost; 0 waits for ever. advice: what the user can do then, where the work
    has no checkpoints.

    An error of a collective mostly means that another rank has ended: RankError then says which one.
    """
    watch = _started(processes, silent_s, advice)
    try:
        yield watch
    except Exception as error:
        if _is_of_a_collective(error) and (cause := watch.cause(GONE_S + 2)):
            watch.fail(cause)
            raise RankError(f"{cause}. {watch.resumes()}") from error
        watch.fail(f"{type(error).__name__}: {error}")
        raise
    except BaseException as error:
        watch.fail("stopped by Ctrl-C" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
        raise
    finally:
        watch.close()


def _started(processes: Accelerator | PartialState, silent_s: float, advice: str) -> Watch:
    me = Peer.this_process(processes.process_index)
    if processes.num_processes == 1:
        return Watch(me)
    peers: list[Peer] = gather_object([me])
    socket = listener() if processes.is_main_process else None
    meeting = (addresses(socket.getsockname()[1]), secrets.token_hex(16)) if socket else None
    (places, token) = broadcast_object_list([meeting])[0]
    if socket:
        watch: Watch = Hub(me, [peer for peer in peers if peer.rank], socket, token, silent_s, advice)
    else:
        watch = Member(me, peers[0], places, token, silent_s, advice)
    reached = gather_object([watch.start()])
    if processes.is_main_process and not all(reached):
        lost = ", ".join(str(peer) for peer, found in zip(peers, reached, strict=True) if not found)
        print(
            f"warning: {lost} cannot connect to rank 0 at {places}; it is not noticed when they are silent. "
            "Open these ports, or set MASTER_ADDR to an address of rank 0's host",
            file=sys.stderr,
        )
    return watch


def _is_of_a_collective(error: Exception) -> bool:
    """Whether the error was raised by communication between ranks; gloo has no type of its own for that."""
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "NCCL", "Connection closed by peer"))
    )
