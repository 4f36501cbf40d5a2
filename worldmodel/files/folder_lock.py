"""Lock files: one process at a time writes to a folder, on local and on network storage.

    FOLDER/.lock    JSON: who holds it (host, process, its start, its command); its mtime is refreshed while that process runs

The lock is created with O_CREAT | O_EXCL, which is atomic on network storage too, where flock is not dependable. A lock that a
dead process of this machine left is taken over at once. A process on another machine cannot be looked up. Whoever wants its
lock waits for a sign of life, is refused when the mtime is refreshed, and takes over after STALE_S without one. No torch.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

from worldmodel.files.atomic import age_s, part_of, remove_parts
from worldmodel.files.lock_owner import Owner, is_here, start_of
from worldmodel.files.output_errors import OutputError, output_errors
from worldmodel.process import interrupts

HEARTBEAT_S = 15.0  # from one refresh of the mtime to the next
STALE_S = 180.0  # without a refresh, after which a lock of another machine is taken over
ATTEMPTS = 100  # to create or take over a lock while others create and release theirs
_READ_S = 0.5  # a lock is created empty and then filled; its reader waits this long for the content
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}  # of a file system without them
_TOKENS = re.compile(r"(?:\.[0-9a-f]{32})+")  # in the name of an auxiliary lock, after the name of the lock
_UNKNOWN = "unknown"  # token and host of a lock whose content cannot be understood
_HELD: list[FolderLock] = []  # by this process


class FolderLockError(RuntimeError):
    """A folder is in use by another process, or no longer locked by this one; says by whom and what to do."""


class FolderLock:
    """A lock that this process holds."""

    def __init__(self, path: Path, target: Path, owner: Owner, made: list[Path]) -> None:
        self.path, self.target, self.owner = path, target, owner
        self._made, self._released = made, threading.Event()
        threading.Thread(target=self._refresh, daemon=True, name=f"refreshes {path}").start()

    def check(self) -> None:
        """Raise FolderLockError where the folder was removed, moved or taken over, so that nothing more must be written."""
        there = _read(self.path)
        if there is None:
            raise FolderLockError(
                f"{self.target} was removed or moved while this process wrote to it (its lock {self.path} is gone); "
                "nothing more is written. Start again to begin anew there"
            )
        if there.token != self.owner.token:
            raise FolderLockError(
                f"{self.target} was taken over by {there.name} (since {there.since}) while this process did not respond; "
                "nothing more is written"
            )

    def release(self) -> None:
        """Remove the lock if it is still this process's, and folders that were made for it and are empty."""
        if self._released.is_set() or self.owner.pid != os.getpid():
            return
        self._released.set()
        with contextlib.suppress(OSError):
            there = _read(self.path)
            if there is not None and there.token == self.owner.token:
                self.path.unlink()
                for folder in self._made:
                    folder.rmdir()

    def _refresh(self) -> None:
        while not self._released.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):  # storage that does not answer now may answer the next time
                there = _read(self.path)
                if there is None or there.token != self.owner.token:
                    return  # the next check() says so
                os.utime(self.path)


def hold_folder(
    folder: Path, instead: str, name: str = ".lock", wait_s: float = 0.0
) -> contextlib.AbstractContextManager[FolderLock]:
    """Hold the lock of a folder, which is made where it is missing.

    instead: what to do when it is in use, such as "give another --out". wait_s: how long to wait for its release.
    Raises FolderLockError where another process holds it. The lock is released on errors and SIGTERM too.
    """
    return _hold(folder / name, folder, folder, instead, wait_s)


def hold_file(file: Path, instead: str) -> contextlib.AbstractContextManager[FolderLock]:
    """Hold the lock of one file, `.NAME.lock` beside it; other files of its folder may be written meanwhile."""
    return _hold(file.with_name(f".{file.name}.lock"), file, file.parent, instead, 0.0)


@contextlib.contextmanager
def _hold(path: Path, target: Path, folder: Path, instead: str, wait_s: float) -> Iterator[FolderLock]:
    if folder.exists() and not folder.is_dir():
        raise FolderLockError(f"{folder} is a file, where a folder is needed: {instead}")
    owner = Owner.this_process()
    made = [it for it in (folder, *folder.parents) if not it.exists()]
    until = time.monotonic() + wait_s
    first_seen: list[tuple[str, float]] = []
    while (refusal := _acquire(path, target, folder, owner, instead)) is not None:
        if time.monotonic() >= until and not _is_silent(path, target, first_seen):
            raise FolderLockError(refusal)
        time.sleep(0.1)
    lock = FolderLock(path, target, owner, made)
    remove_parts(folder)
    _remove_left_locks(path, owner)
    _HELD.append(lock)
    release_on_signals()
    try:
        yield lock
    finally:
        lock.release()
        _HELD.remove(lock)


def release_on_signals() -> None:
    """Release locks when SIGTERM or SIGHUP ends this process; a handler that someone else has set is left in place."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    if _release_all not in interrupts.before_exit:
        interrupts.before_exit.append(_release_all)


def _release_all() -> None:
    for lock in _HELD:
        lock.release()


def _end(number: int, _frame: object) -> None:
    _release_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


# --- acquiring -------------------------------------------------------------------------------------------------------
def _acquire(path: Path, target: Path, folder: Path, owner: Owner, instead: str) -> str | None:
    """Create the lock or take it over; None when it is ours, else why not."""
    for _ in range(ATTEMPTS):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if _create(path, owner):
                return None
        except OutputError as error:
            if error.errno != errno.ENOENT:
                raise
            continue  # another process that ended has just removed the empty folder
        there = _read(path)
        if there is None:
            continue  # released meanwhile
        stale = _stale(path, there)
        if stale is None:
            return _refusal(path, target, there, instead)
        if _take_over(path, there, owner):
            print(f"{target}: taking over the lock of {there.name}, {stale}", file=sys.stderr, flush=True)
            return None
        time.sleep(0.02)
    return f"{target}: other processes keep taking its lock {path}; try again later, or {instead}"


def _take_over(path: Path, stale: Owner, owner: Owner) -> bool:
    """Replace a stale lock by ours; False where another process was first.

    Whoever wants to replace this very lock must first hold a lock named after its token, and look once more whether it is
    still there. So of several processes that find it stale one alone replaces it, and none replaces a lock made after it.
    """
    guard = path.with_name(f"{path.name}.{stale.token}")
    if not _create(guard, owner):
        rival = _read(guard)
        if rival is None or _stale(guard, rival) is None or not _take_over(guard, rival, owner):
            return False
    try:
        there = _read(path)
        if there is None or there.token != stale.token or _stale(path, there) is None:
            return False
        new = path.with_name(f"{path.name}.{owner.token}")
        _create(new, owner)
        os.replace(new, path)
        return True
    finally:
        guard.unlink(missing_ok=True)


def _remove_left_locks(path: Path, owner: Owner) -> None:
    """Remove the auxiliary locks of processes that were killed while they took over earlier locks of this name.

    `owner` holds the lock now, so that an auxiliary lock of any other token protects nothing any more.
    """
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            tokens = entry.name.removeprefix(path.name)
            if tokens == entry.name or not _TOKENS.fullmatch(tokens) or tokens.startswith(f".{owner.token}"):
                continue
            with contextlib.suppress(OSError):
                other = _read(Path(entry.path))
                if other is not None and _stale(Path(entry.path), other) is not None:
                    os.unlink(entry.path)


def _create(path: Path, owner: Owner) -> bool:
    """Write a lock; False where there is one already. Raises OutputError where it cannot be written, and leaves none then.

    It is written beside and linked to its name, so that a lock is never seen without its content. Where the file system has
    no links, it is created under its name and filled.
    """
    content = (json.dumps(asdict(owner)) + "\n").encode()
    part = part_of(path.with_name(f"{path.name}.{owner.token[:8]}"))
    try:
        with output_errors(path):
            _write_new(part, content)
            try:
                os.link(part, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _write_new(path, content)
        return True
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes) -> bool:
    """Create a file; False where there is one already."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with open(handle, "wb") as file:
            file.write(content)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _read(path: Path) -> Owner | None:
    """Who holds a lock; None where there is no lock. An owner without a name where its content cannot be understood."""
    until = time.monotonic() + _READ_S
    while True:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            found = json.loads(text)
            words = {field.name: str(found[field.name]) for field in fields(Owner) if field.name != "pid"}
            return Owner(pid=int(found["pid"]), **words)
        except (ValueError, KeyError, TypeError):
            if time.monotonic() > until:
                return Owner(_UNKNOWN, _UNKNOWN, "", 0, "", "", "")
            time.sleep(0.02)


# --- is its owner alive? ---------------------------------------------------------------------------------------------
def _stale(path: Path, owner: Owner) -> str | None:
    """Why a lock may be taken over; None while its owner may be alive."""
    started = start_of(owner.pid) if is_here(owner) else None
    if started is not None:
        return "which is no longer running" if started != owner.started else None
    silence_s = age_s(path)
    return None if silence_s < STALE_S else f"which has given no sign of life for {silence_s / 60:.0f} minutes"


def _is_silent(path: Path, target: Path, first_seen: list[tuple[str, float]]) -> bool:
    """Whether the owner of a lock cannot be looked up, and has not refreshed it since it was first seen.

    It may have been killed, and its job started again here: that job waits until the lock is stale and is not refused.
    `first_seen` is filled at the first call.
    """
    there = _read(path)
    if there is None:
        return True  # released meanwhile
    if is_here(there) and start_of(there.pid) is not None:
        return False
    try:
        now = (there.token, path.stat().st_mtime)
    except FileNotFoundError:
        return True
    if not first_seen:
        first_seen.append(now)
        waits = f"waiting for a sign of life of it, or until {STALE_S:.0f} s have passed without one"
        print(f"{target} is in use by {there.name}; {waits}", file=sys.stderr, flush=True)
    return now == first_seen[0]


def _refusal(path: Path, target: Path, owner: Owner, instead: str) -> str:
    who = f"{target} is in use by {owner.name}"
    if owner.pid:
        who += f" (since {owner.since}: {owner.command})"
    if is_here(owner):
        return f"{who}; two writers would mix their files. Wait until it ends, stop it (kill {owner.pid}), or {instead}"
    return (
        f"{who}; its last sign of life is {age_s(path):.0f} s old. Wait until it ends, or {instead}. If that process is gone, "
        f"give the same command again later: after {STALE_S:.0f} s without a sign of life the lock is taken over"
    )
