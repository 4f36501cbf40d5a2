"""Lock files: one process at a time writes to a folder, on local and on network storage.

    FOLDER/.lock    JSON with the owner: host, process, its start time and its command

The owner refreshes the mtime of the lock while it runs. The lock is created with O_CREAT | O_EXCL,
which is atomic on network storage too, where flock is not reliable. The lock of a dead process of
this machine is taken over at once. A process on another machine cannot be looked up. A process that
wants its lock waits: it is refused when the mtime is refreshed, and takes the lock over after
STALE_S without a refresh. This module does not import torch.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from worldmodel.files import lock_files
from worldmodel.files.atomic import file_age_s, remove_parts
from worldmodel.files.lock_files import create_lock, read_owner, remove_abandoned_guards, stale_reason, take_over
from worldmodel.files.lock_owner import Owner, is_on_this_system, process_start
from worldmodel.files.output_errors import OutputError
from worldmodel.process import interrupts

HEARTBEAT_S = 15.0  # interval between refreshes of the mtime
ATTEMPTS = 100  # attempts to create or take over a lock while other processes create and release theirs
_EXIT_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_before = threading.local()  # the signals that were blocked before a fork, by thread
_held_locks: list[FolderLock] = []  # locks that this process holds


class FolderLockError(RuntimeError):
    """A folder is in use by another process, or is no longer locked by this one; the message names it and what to do."""


class FolderLock:
    """A lock that this process holds, once `start` was called, or is about to take."""

    def __init__(self, path: Path, target: Path, owner: Owner, created_folders: list[Path]) -> None:
        self.path, self.target, self.owner = path, target, owner
        self._created_folders, self._released = created_folders, threading.Event()

    def start(self) -> None:
        """Begin to refresh the lock."""
        threading.Thread(target=self._refresh, daemon=True, name=f"refreshes {self.path}").start()

    def check(self) -> None:
        """Raise FolderLockError where the folder was removed, moved or taken over. Then nothing more must be written."""
        current = read_owner(self.path)
        if current is None:
            raise FolderLockError(
                f"{self.target} was removed or moved while this process wrote to it (its lock {self.path} is gone); "
                "nothing more is written. Run the command again to write it from the start"
            )
        if current.token != self.owner.token:
            raise FolderLockError(
                f"{self.target} was taken over by {current.name} (since {current.since}) while this process did not respond; "
                "nothing more is written"
            )

    def release(self) -> None:
        """Remove the lock if this process still owns it, and empty folders that were created for it."""
        if self._released.is_set() or self.owner.pid != os.getpid():
            return
        self._released.set()
        with contextlib.suppress(OSError):
            current = read_owner(self.path)
            if current is not None and current.token == self.owner.token:
                self.path.unlink()
                for folder in self._created_folders:
                    folder.rmdir()

    def _refresh(self) -> None:
        while not self._released.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):  # storage that does not answer now may answer at the next refresh
                current = read_owner(self.path)
                if current is None or current.token != self.owner.token:
                    return  # the next check() reports it
                os.utime(self.path)


def lock_folder(
    folder: Path, advice: str, lock_name: str = ".lock", wait_s: float = 0.0
) -> contextlib.AbstractContextManager[FolderLock]:
    """Hold the lock of a folder, which is created where it is missing.

    advice: what to do when it is in use, such as "give another --out"; the end of the message.
    wait_s: how long to wait for its release. Raises FolderLockError where another process holds the
    lock. The lock is released on errors and on SIGTERM too.
    """
    return _lock(folder / lock_name, folder, folder, advice, wait_s)


def lock_file(file: Path, advice: str) -> contextlib.AbstractContextManager[FolderLock]:
    """Hold the lock of one file, `.NAME.lock` beside it. Other processes may write other files of its folder."""
    return _lock(file.with_name(f".{file.name}.lock"), file, file.parent, advice, 0.0)


@contextlib.contextmanager
def _lock(path: Path, target: Path, folder: Path, advice: str, wait_s: float) -> Iterator[FolderLock]:
    if folder.exists() and not folder.is_dir():
        raise FolderLockError(f"{folder} is a file, but a folder is needed: {advice}")
    owner = Owner.this_process()
    created_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    deadline = time.monotonic() + wait_s
    first_state: list[tuple[str, float]] = []
    release_on_signals()  # before the lock exists: a signal between lock and handler would leave the lock behind
    lock = FolderLock(path, target, owner, created_folders)
    _held_locks.append(lock)  # before the lock exists, too
    try:
        while (refusal := _acquire(path, target, folder, owner, advice)) is not None:
            if time.monotonic() >= deadline and not _shows_no_activity(path, target, first_state):
                raise FolderLockError(refusal)
            time.sleep(0.1)
        lock.start()
        remove_parts(folder)
        remove_abandoned_guards(path, owner)
        yield lock
    finally:
        lock.release()
        _held_locks.remove(lock)


def release_on_signals() -> None:
    """Release locks when SIGTERM or SIGHUP ends this process. Existing signal handlers are not replaced."""
    for number in _EXIT_SIGNALS:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _release_and_exit)
    if _release_all not in interrupts.exit_callbacks:
        interrupts.exit_callbacks.append(_release_all)


def _release_all() -> None:
    for lock in _held_locks:
        lock.release()


def _release_and_exit(number: int, _frame: object) -> None:
    _release_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


# --- forked children -------------------------------------------------------------------------------------------------
# A forked child holds no lock, so signals end it as they end any process. Python calls a handler after the system call that
# is running. With the parent's handler, a child that waits for a task without end would ignore a signal that arrived just
# before it began to wait, and `multiprocessing.Pool.terminate` sends one signal only. Signals are blocked during the fork: one
# that arrived in the child before its handlers are the default ones would be lost, too.
def _before_fork() -> None:
    _before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _EXIT_SIGNALS)


def _after_fork_in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before.mask)


def _after_fork_in_child() -> None:
    _held_locks.clear()
    for number in _EXIT_SIGNALS:
        if signal.getsignal(number) is _release_and_exit:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, _before.mask)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


# --- acquiring -------------------------------------------------------------------------------------------------------
def _acquire(path: Path, target: Path, folder: Path, owner: Owner, advice: str) -> str | None:
    """Create the lock or take it over. Returns None on success, else the message of the refusal."""
    for _ in range(ATTEMPTS):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if create_lock(path, owner):
                return None
        except OutputError as error:
            if error.errno != errno.ENOENT:
                raise
            continue  # another process has just ended and removed the empty folder
        current = read_owner(path)
        if current is None:
            continue  # released in the meantime
        stale = stale_reason(path, current)
        if stale is None:
            return _refusal_message(path, target, current, advice)
        if take_over(path, current, owner):
            print(f"{target}: taking over the lock of {current.name}, {stale}", file=sys.stderr, flush=True)
            return None
        time.sleep(0.02)
    return f"{target}: other processes keep taking its lock {path}; try again later, or {advice}"


def _shows_no_activity(path: Path, target: Path, first_state: list[tuple[str, float]]) -> bool:
    """Whether the owner of a lock cannot be looked up and has not refreshed the lock since the first call.

    The owner may have been killed and its job restarted on this machine. That job waits until the
    lock is stale; it is not refused. The first call fills `first_state`.
    """
    current = read_owner(path)
    if current is None:
        return True  # released in the meantime
    if is_on_this_system(current) and process_start(current.pid) is not None:
        return False
    try:
        state = (current.token, path.stat().st_mtime)
    except FileNotFoundError:
        return True
    if not first_state:
        first_state.append(state)
        waits = f"waiting until it refreshes its lock, or until {lock_files.STALE_S:.0f} s have passed without a refresh"
        print(f"{target} is in use by {current.name}; {waits}", file=sys.stderr, flush=True)
    return state == first_state[0]


def _refusal_message(path: Path, target: Path, owner: Owner, advice: str) -> str:
    in_use = f"{target} is in use by {owner.name}"
    if owner.pid:
        in_use += f" (since {owner.since}: {owner.command})"
    if is_on_this_system(owner):
        return f"{in_use}; two writers would mix their files. Wait until it ends, stop it (kill {owner.pid}), or {advice}"
    return (
        f"{in_use}; it refreshed its lock {file_age_s(path):.0f} s ago. Wait until it ends, or {advice}. If that process has "
        f"ended, run the same command again later: after {lock_files.STALE_S:.0f} s without a refresh the lock is taken over"
    )
