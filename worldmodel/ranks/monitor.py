"""Heartbeat monitor of one process. It ends the process when another rank is silent, dies or fails.

Collectives wait for all ranks in C++ code, where neither Python exceptions nor signal handlers reach
the main thread. So a thread of each rank monitors the others, prints the reason and ends the process.
The ranks form a star of TCP connections:

    every rank  -> rank 0       one heartbeat per second, and the reason when it fails
    rank 0      -> every rank   one heartbeat per second, and a message about a silent or failed rank

Alternatives that were rejected: the store of torch.distributed, whose calls block on an interrupted
link as long as TCP retries; UDP, which firewalls of clusters block more often than TCP; a child
process that sends heartbeats, which continues while its parent is stopped; connections between all
pairs of ranks, which are thousands. An interrupted link between two hosts that both reach rank 0 is
not detected here; it ends in the timeout of the process group.

A thread sends the heartbeats, so SIGSTOP, a frozen host and an interrupted link stop them. A main
thread that saves, compiles or evaluates for minutes does not. Only time in which the monitoring
process itself runs is counted, so a suspended job does not end when it continues.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from pathlib import Path

from worldmodel.process import interrupts
from worldmodel.ranks.connection import Message
from worldmodel.ranks.peers import Peer, format_peers

HEARTBEAT_S = 1.0
POLL_S = 0.25  # interval of the monitor thread
CLOSED_TIMEOUT_S = 5.0  # a rank whose connection stays closed for this time has ended
GRACE_S = 5.0  # how long the main thread may take to end by itself after another rank has ended or failed
EXIT_CODE = 2
_EXIT_TIMEOUT_S = 5.0  # for the last message and the release of locks: the terminal or the storage may hang


class RankMonitor:
    """State of the other ranks. This class itself, without a thread, is used by a training of one process.

    The main thread calls `set_checkpoint`, `wait_for_cause`, `resume_advice`, `fail` and `close`.
    """

    def __init__(self, me: Peer, limit_s: float = 0.0, advice: str = "") -> None:
        """limit_s: silence after which a rank counts as lost; 0: never. advice: what to do, for work without checkpoints."""
        self.me, self._advice = me, advice
        self.limit_s = limit_s
        self._lost_after_s = limit_s - min(3 * HEARTBEAT_S, limit_s / 4) or math.inf  # so that all ranks end before the limit
        self._launcher = os.getppid()
        self._checkpoint: Path | None = None
        self._cause: str | None = None
        self._cause_is_known = threading.Event()
        self._stopped = threading.Event()  # the main thread no longer needs the monitor
        self._final_message: Message | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Start the monitor thread. Returns whether the other ranks can be reached."""
        self._thread = threading.Thread(target=self._run, daemon=True, name="rank monitor")
        self._thread.start()
        return True

    def set_checkpoint(self, checkpoint: Path) -> None:
        """Set the last intact checkpoint for messages. The monitor thread reads no file, because storage may hang."""
        self._checkpoint = checkpoint

    def wait_for_cause(self, wait_s: float) -> str | None:
        """Which rank ended or failed, and how; None where this is unknown after `wait_s`."""
        self._cause_is_known.wait(wait_s if self._thread else 0.0)
        return self._cause

    def fail(self, why: str) -> None:
        """Stop the monitor and tell the other ranks why this rank ends, unless all end for the same cause."""
        self._stop(None if self._cause else ("failed", why))

    def close(self) -> None:
        """Stop the monitor because all ranks have finished. Later calls do nothing."""
        self._stop(("bye", ""))

    def _stop(self, final_message: Message | None) -> None:
        if not self._stopped.is_set():
            self._final_message = final_message
            self._stopped.set()
            if self._thread:
                self._thread.join(3.0)

    def _run(self) -> None:
        while True:
            try:
                return self._monitor()
            except Exception as error:  # an error in the monitor must not end the training
                print(f"[rank {self.me.rank}] the rank monitor restarts after {error!r}", file=sys.stderr)
                self._stopped.wait(HEARTBEAT_S)

    def _monitor(self) -> None:
        """The work of the thread until `_stopped` is set."""
        raise NotImplementedError

    def _is_orphan(self) -> bool:
        """Whether torchrun was killed. Then nothing else would end this rank or restart it with the others."""
        return "TORCHELASTIC_RUN_ID" in os.environ and os.getppid() != self._launcher

    def _end_process(self, cause: str, grace_s: float) -> None:
        """End this process, unless its main thread ends within the grace period."""
        self._cause = cause
        self._cause_is_known.set()
        if self._stopped.wait(grace_s):
            return
        reporter = threading.Thread(target=self._report_and_release, args=(cause,), daemon=True)
        reporter.start()
        reporter.join(_EXIT_TIMEOUT_S)
        os._exit(EXIT_CODE)

    def _report_and_release(self, cause: str) -> None:
        try:
            print(f"[rank {self.me.rank}] {cause}. This process ends too. {self.resume_advice()}", file=sys.stderr, flush=True)
        finally:
            for call in interrupts.exit_callbacks:
                call()

    def resume_advice(self) -> str:
        """What the user can do, and from which checkpoint the run resumes."""
        if self._advice:
            return self._advice
        if self._checkpoint is None:
            return "There is no checkpoint yet: the same command begins again"
        return f"The same command resumes from the last checkpoint, {self._checkpoint}"


def describe_silent(peers: list[Peer], limit_s: float) -> str:
    """Message about ranks without heartbeats."""
    reasons = "The process is stopped, its host is down or the network is interrupted"
    return f"{format_peers(peers)}: no heartbeat for {limit_s:g} s. {reasons}"


def describe_ended(peer: Peer) -> str:
    """Message about a rank that ended without a message."""
    return f"{peer} ended without an error message: it was killed or crashed, most often because memory ran out"


def describe_orphaned(peer: Peer) -> str:
    """Message about a rank whose launcher was killed."""
    return f"the launcher of {peer} ended: torchrun, which started this rank, was killed"


def describe_failed(peer: Peer, why: str) -> str:
    """Message about a rank that failed with an exception."""
    return f"{peer} failed: {why}"
