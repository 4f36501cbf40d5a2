"""The file of a lock: create it, read its owner, and take it over where the owner no longer runs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from dataclasses import asdict, fields
from pathlib import Path

from worldmodel.files.atomic import file_age_s, part_path
from worldmodel.files.lock_owner import Owner, is_on_this_system, process_start
from worldmodel.files.output_errors import output_errors

STALE_S = 180.0  # a lock of another machine without a refresh for this time is taken over
_CONTENT_WAIT_S = 0.5  # some file systems show a lock before it has content; a reader waits this long
_LINKS_UNSUPPORTED = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_TOKEN_SUFFIX = re.compile(r"(?:\.[0-9a-f]{32})+")  # in the name of a guard, after the name of the lock
_UNREADABLE = "unknown"  # token and host of a lock whose content is not valid


def create_lock(path: Path, owner: Owner) -> bool:
    """Create a lock file. Returns False where there is one. Raises OutputError, and leaves no file then.

    The file is written under a temporary name and then linked to its name, so that other processes
    never see a lock without content. On a file system without hard links it is created under its
    name and then written.
    """
    content = (json.dumps(asdict(owner)) + "\n").encode()
    part = part_path(path.with_name(f"{path.name}.{owner.token[:8]}"))
    try:
        with output_errors(path):
            _create_file(part, content)
            try:
                os.link(part, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _LINKS_UNSUPPORTED:
                    raise
                return _create_file(path, content)
        return True
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _create_file(path: Path, content: bytes) -> bool:
    """Create a file. Returns False where there is one."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        with open(handle, "wb") as file:
            file.write(content)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def read_owner(path: Path) -> Owner | None:
    """The owner of a lock; None where there is no lock; an unnamed owner where the content is not valid."""
    deadline = time.monotonic() + _CONTENT_WAIT_S
    while True:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            found = json.loads(text)
            texts = {field.name: str(found[field.name]) for field in fields(Owner) if field.name != "pid"}
            return Owner(pid=int(found["pid"]), **texts)
        except (ValueError, KeyError, TypeError):
            if time.monotonic() > deadline:
                return Owner(_UNREADABLE, _UNREADABLE, "", 0, "", "", "")
            time.sleep(0.02)


def stale_reason(path: Path, owner: Owner) -> str | None:
    """Why a lock may be taken over; None while its owner may be running."""
    started = process_start(owner.pid) if is_on_this_system(owner) else None
    if started is not None:
        return "which is no longer running" if started != owner.started else None
    silence_s = file_age_s(path)
    return None if silence_s < STALE_S else f"which has not refreshed its lock for {silence_s / 60:.0f} minutes"


def take_over(path: Path, stale: Owner, owner: Owner) -> bool:
    """Replace a stale lock. Returns False where another process was faster.

    A process that wants to replace a lock must first hold a guard, a lock named after the token of
    the stale lock, and then check that the stale lock still exists. So only one of several processes
    replaces it, and none replaces a lock that was created after it.
    """
    guard = path.with_name(f"{path.name}.{stale.token}")
    if not create_lock(guard, owner):
        rival = read_owner(guard)
        if rival is None or stale_reason(guard, rival) is None or not take_over(guard, rival, owner):
            return False
    try:
        current = read_owner(path)
        if current is None or current.token != stale.token or stale_reason(path, current) is None:
            return False
        new = path.with_name(f"{path.name}.{owner.token}")
        create_lock(new, owner)
        os.replace(new, path)
        return True
    finally:
        guard.unlink(missing_ok=True)


def remove_abandoned_guards(path: Path, owner: Owner) -> None:
    """Remove the guards of processes that were killed while they took over earlier locks of this name.

    `owner` holds the lock now, so guards of all other tokens are no longer needed.
    """
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            tokens = entry.name.removeprefix(path.name)
            if tokens == entry.name or not _TOKEN_SUFFIX.fullmatch(tokens) or tokens.startswith(f".{owner.token}"):
                continue
            with contextlib.suppress(OSError):
                other = read_owner(Path(entry.path))
                if other is not None and stale_reason(Path(entry.path), other) is not None:
                    os.unlink(entry.path)
