"""The lock of a folder in object storage, an object that only conditional writes change: one process writes to it.

    FOLDER/lock.json    JSON with the owner (host, process, its start time, its command) and a counter

The owner raises the counter every REFRESH_S, and before it writes if the last time is long ago (`confirm`). The lock of a
dead process of this machine is taken over at once. A process on another machine cannot be looked up. A process that wants
its lock waits: it is refused when the counter is raised, and takes the lock over after STALE_S without that. Clocks of
machines are not compared. Imports no torch.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields

from worldmodel.files.folder_lock import FolderLockError
from worldmodel.files.lock_files import STALE_S
from worldmodel.files.lock_owner import Owner, is_on_this_system, process_start
from worldmodel.storage.errors import StorageError
from worldmodel.storage.transfer import Written, delete, read_whole, write_if

LOCK = "lock.json"
REFRESH_S = 30.0
_POLL_S = 5.0  # between two looks at the lock of another machine
_RELEASE_WAIT_S = 30.0  # for a refresh that is being made and for the removal of the lock
_ATTEMPTS = 100  # while other processes take and release the lock


@dataclass
class ObjectLock:
    """A lock that this process holds. `lost`: why nothing more may be written, once that is so."""

    url: str  # of the lock object
    folder: str
    owner: Owner
    version: Written
    count: int = 0
    lost: str = ""
    _refreshed_at: float = field(default_factory=time.time)  # by the clock that goes on while a machine is suspended
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def check(self) -> None:
        """Raise FolderLockError where another process has taken the lock over."""
        if self.lost:
            raise FolderLockError(self.lost)

    def refresh(self) -> None:
        """Raise the counter. A store that does not answer now may answer at the next refresh."""
        with self._asking:
            self._refresh()

    def confirm(self) -> bool:
        """Whether this process still owns the lock. Asks the store if the last refresh is long ago.

        False with an empty `lost`: the store does not answer, so nobody knows. May be called from any thread.
        """
        if not self.lost and not self._is_recent():
            with self._asking:
                if not self._is_recent():  # another thread may have asked meanwhile
                    self._refresh()
        return not self.lost and self._is_recent()

    def _is_recent(self) -> bool:
        return 0 <= time.time() - self._refreshed_at <= 2 * REFRESH_S

    def _refresh(self) -> None:
        asked_at = time.time()
        try:
            version = write_if(self.url, _content(self.owner, self.count + 1), self.version)
            if version is None:
                found = read_whole(self.url)
                name = "its lock was removed" if found is None else f"it was taken over by {_owner_of(found[0]).name}"
                self.lost = f"{self.folder}: {name} while this process did not respond; nothing more is written"
                return
        except StorageError:
            return
        self.version, self.count, self._refreshed_at = version, self.count + 1, asked_at

    def release(self) -> None:
        """Remove the lock if this process still owns it. A lock that stays is taken over later."""
        try:
            found = read_whole(self.url)
            if found is not None and _owner_of(found[0]).token == self.owner.token:
                delete([self.url])
        except StorageError:
            return


@contextmanager
def lock_url(folder: str, advice: str) -> Iterator[ObjectLock]:
    """Hold the lock of a folder in object storage.

    advice: what to do when it is in use; the end of the message. Raises FolderLockError where another process holds the lock,
    and StorageError.
    """
    lock = _acquired(folder, advice)
    ended = threading.Event()

    def refresh() -> None:
        while not ended.wait(REFRESH_S):
            if not lock.lost:
                lock.refresh()
        lock.release()

    thread = threading.Thread(target=refresh, daemon=True, name=f"refreshes {lock.url}")
    thread.start()
    try:
        yield lock
    finally:
        ended.set()
        thread.join(_RELEASE_WAIT_S)  # a store that is down must not hold up the end of a run


def _acquired(folder: str, advice: str) -> ObjectLock:
    url, owner = f"{folder}/{LOCK}", Owner.this_process()
    for _ in range(_ATTEMPTS):
        if (version := write_if(url, _content(owner, 0), None)) is not None:
            return ObjectLock(url, folder, owner, version)
        found = read_whole(url)
        if found is None:
            continue  # released in the meantime
        current = _owner_of(found[0])
        if not _is_gone(current, url, found[1], folder, advice):
            continue  # released or taken over in the meantime
        if (version := write_if(url, _content(owner, 0), found[1])) is not None:
            print(f"{folder}: taking over the lock of {current.name}, which has ended", file=sys.stderr, flush=True)
            return ObjectLock(url, folder, owner, version)
    raise FolderLockError(f"{folder}: other processes keep taking its lock {url}; try again later, or {advice}")


def _is_gone(owner: Owner, url: str, version: Written, folder: str, advice: str) -> bool:
    """Whether the owner of a lock has ended; waits if it runs elsewhere. False: the lock is no longer this one.

    Raises FolderLockError if the owner runs.
    """
    in_use = f"{folder} is in use by {owner.name} (since {owner.since}: {owner.command})"
    started = process_start(owner.pid) if is_on_this_system(owner) else None
    if started is not None:
        if started != owner.started:
            return True
        raise FolderLockError(f"{in_use}; two writers would mix their files. Wait until it ends, or {advice}")
    print(f"{in_use}; waiting {STALE_S:.0f} s for a sign that it still runs", file=sys.stderr, flush=True)
    until = time.monotonic() + STALE_S
    while time.monotonic() < until:
        time.sleep(_POLL_S)
        found = read_whole(url)
        if found is None or _owner_of(found[0]).token != owner.token:
            return False
        if found[1] != version:
            raise FolderLockError(f"{in_use}; it refreshed its lock just now. Wait until it ends, or {advice}")
    return True


def _content(owner: Owner, count: int) -> bytes:
    return (json.dumps({**asdict(owner), "count": count}) + "\n").encode()


def _owner_of(content: bytes) -> Owner:
    try:
        found = json.loads(content)
        texts = {field.name: str(found[field.name]) for field in fields(Owner) if field.name != "pid"}
        return Owner(pid=int(found["pid"]), **texts)
    except (ValueError, KeyError, TypeError):
        return Owner("unknown", "unknown", "", 0, "", "", "")
