"""The watch of one process over the others of its training. The process ends when one of them is silent, dies or fails.

Collectives wait for every rank, in C++, where no exception and no signal handler of Python reaches the main thread. So a thread
of each rank watches, prints the reason and ends the process. It is a star of TCP connections of its own:

    every rank  -> rank 0       one beat a second, and last words when it fails
    rank 0      -> every rank   one beat a second, and the verdict about a silent or failed rank

Alternatives: the store of torch.distributed, whose calls block behind a cut link for as long as TCP tries again; UDP, which
firewalls of clusters let through less often than TCP; a child process that beats, which goes on while its parent is stopped;
connections of every rank with every other, which are thousands. A link that is cut between two hosts which both reach rank 0 is
not noticed here; it ends in the timeout of the process group.

A beat comes from a thread: SIGSTOP, a frozen host and a cut link silence it. A main thread that saves, compiles or evaluates
for minutes does not. Time counts only while the judging process runs itself: a suspended job does not end when it wakes.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from pathlib import Path

from worldmodel.process import interrupts
from worldmodel.ranks.line import Message
from worldmodel.ranks.peers import Peer, named

BEAT_S = 1.0
TICK_S = 0.25  # how often a watch looks
GONE_S = 5.0  # a rank whose connection is closed and does not come back within this time has ended
GRACE_S = 5.0  # the main thread may end by itself within this time once another rank has ended or failed
EXIT_CODE = 2
_LAST_WORDS_S = 5.0  # for the line and the release of locks: the terminal or the storage may hang


class Watch:
    """What this process knows of the others. This class alone, without a thread, serves a training of one process.

    The main thread calls `saved`, `cause`, `resumes`, `fail` and `close`.
    """

    def __init__(self, me: Peer, limit_s: float = 0.0, advice: str = "") -> None:
        """limit_s: silence after which a rank counts as lost; 0: never. advice: what to do where there are no checkpoints."""
        self.me, self._advice = me, advice
        self.limit_s = limit_s
        self._lost_s = limit_s - min(3 * BEAT_S, limit_s / 4) or math.inf  # so that all have ended when the limit is reached
        self._launcher = os.getppid()
        self._checkpoint: Path | None = None
        self._cause: str | None = None
        self._known = threading.Event()  # there is a cause
        self._over = threading.Event()  # the main thread needs no watch any more
        self._last_words: Message | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Begin to watch; whether the others can be reached."""
        self._thread = threading.Thread(target=self._keep_watching, daemon=True, name="watch over the ranks")
        self._thread.start()
        return True

    def saved(self, checkpoint: Path) -> None:
        """Remember the last whole checkpoint. The watch names it and looks at no file, since storage may hang."""
        self._checkpoint = checkpoint

    def cause(self, wait_s: float) -> str | None:
        """Which rank ended or failed, and how; None where nothing is known after so many seconds."""
        self._known.wait(wait_s if self._thread else 0.0)
        return self._cause

    def fail(self, why: str) -> None:
        """Stop watching, and tell the others what ends this rank, unless they end for the same cause as this one."""
        self._stop(None if self._cause else ("failed", why))

    def close(self) -> None:
        """Stop watching: all ranks are done. Later calls do nothing."""
        self._stop(("bye", ""))

    def _stop(self, last_words: Message | None) -> None:
        if not self._over.is_set():
            self._last_words = last_words
            self._over.set()
            if self._thread:
                self._thread.join(3.0)

    def _keep_watching(self) -> None:
        while True:
            try:
                return self._watch()
            except Exception as error:  # a fault of the watch must not end the training
                print(f"[rank {self.me.rank}] the watch over the ranks starts again after {error!r}", file=sys.stderr)
                self._over.wait(BEAT_S)

    def _watch(self) -> None:
        """What the thread does until `_over` is set."""
        raise NotImplementedError

    def _is_orphan(self) -> bool:
        """Whether torchrun was killed. Nobody would end this rank then, or start it again with the others."""
        return "TORCHELASTIC_RUN_ID" in os.environ and os.getppid() != self._launcher

    def _end(self, cause: str, grace_s: float) -> None:
        """End this process, unless its main thread ends within the grace."""
        self._cause = cause
        self._known.set()
        if self._over.wait(grace_s):
            return
        last_words = threading.Thread(target=self._say_and_release, args=(cause,), daemon=True)
        last_words.start()
        last_words.join(_LAST_WORDS_S)
        os._exit(EXIT_CODE)

    def _say_and_release(self, cause: str) -> None:
        try:
            print(f"[rank {self.me.rank}] {cause}. This process ends, too. {self.resumes()}", file=sys.stderr, flush=True)
        finally:
            for call in interrupts.before_exit:
                call()

    def resumes(self) -> str:
        """What the user can do, and what the run goes on from."""
        if self._advice:
            return self._advice
        if self._checkpoint is None:
            return "There is no checkpoint yet: the same command begins again"
        return f"The same command resumes from the last checkpoint, {self._checkpoint}"


def silent(peers: list[Peer], limit_s: float) -> str:
    return f"{named(peers)}: no sign of life for {limit_s:g} s. The process is stopped, its host is down or the network is cut"


def gone(peer: Peer) -> str:
    return f"{peer} ended without a word: it was killed or crashed, most often because memory ran out"


def orphaned(peer: Peer) -> str:
    return f"the launcher of {peer} ended: torchrun, which started this rank, was killed"


def failed(peer: Peer, why: str) -> str:
    return f"{peer} failed: {why}"
