"""Atomic writing: at any moment a file or folder holds its old content or its new content, never a part of it.

    .NAME.PID-START@SYSTEM.part    written beside NAME, synced to the disk, then renamed to NAME

PID, START and SYSTEM (digests of when the process began, and of machine, boot and container) tell which process writes it. A
process that is killed leaves it; `remove_parts` removes those that no living process writes. No torch.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import socket
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from worldmodel.files.lock_owner import start_of, system_of_this_process
from worldmodel.files.output_errors import WRITE_ONLY, OutputError, output_errors

_PART = re.compile(r"\..+\.(\d+)-([0-9a-f]{8})@([0-9a-f]{8})\.part")
_LONGEST_NAME = 150  # bytes of a name that its part repeats; file systems allow 255
_NOT_OF_FOLDERS = {errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EISDIR}
_FOREIGN_S = 86_400.0  # age after which the part of a process that cannot be looked up counts as left behind


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to; on success that file is synced to the disk and becomes `path`, else it is removed.

    The file gets the permissions that the user's umask gives, whatever writes it. A symbolic link at `path` is replaced; the
    file that it points to is never touched. Raises OutputError where the file cannot be written. An OSError raised inside the
    block becomes an OutputError only if it is a disk-full or read-only error, or names the temporary file. A block that also
    reads must tell the others apart itself (`output_errors`).
    """
    part = part_of(path)
    _remove_parts_once(path.parent)
    try:
        with output_errors(path), open(part, "wb") as file:
            mode = os.fstat(file.fileno()).st_mode
        try:
            yield part
        except OSError as error:
            of_another = isinstance(error, OutputError) and error.filename != str(part)
            if of_another or (error.errno not in WRITE_ONLY and str(error.filename) != str(part)):
                raise
            raise OutputError.of(error.errno or 0, path) from error
        with output_errors(path):
            if part.stat().st_mode != mode:
                part.chmod(mode)
            sync(part)
            os.replace(part, path)
    finally:
        with suppress(OSError):  # an error of the folder has been raised already
            part.unlink(missing_ok=True)


class _Part(io.FileIO):
    """A file that is being written. Its errors are OutputErrors that name the file that it will become."""

    def __init__(self, part: Path, path: Path) -> None:
        super().__init__(part, "w")
        self._path = path

    def write(self, content: Any, /) -> int:
        with output_errors(self._path):
            return super().write(content)

    def close(self) -> None:
        with output_errors(self._path):
            super().close()


@contextmanager
def replacing_file(path: Path) -> Iterator[io.BufferedWriter]:
    """An open file to write bytes to; on success it becomes `path`, else it is removed; see `replacing`.

    Every error of writing it is an OutputError, also in a block that reads other files.
    """
    with replacing(path) as part, open_part(part, path) as file:
        yield file


def open_part(part: Path, path: Path) -> io.BufferedWriter:
    """The name that `replacing` gave for `path`, open for writing bytes. Every error of writing is an OutputError of `path`."""
    return io.BufferedWriter(_Part(part, path))


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill; on success it becomes `path`, else it is removed. Raises OSError where it cannot be written.

    The block must sync the files, or write them by this module. A folder that is at `path` already is removed first, so it
    must be one that nobody needs.
    """
    part = part_of(path)
    _remove_parts_once(path.parent)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        sync(part)
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Raises OutputError."""
    with replacing_file(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """In UTF-8, line ends as given. Raises OutputError."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Raises OutputError, and ValueError for NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike], *, compressed: bool = False) -> None:
    """Arrays by name as NPZ, which `np.load(path, allow_pickle=False)` reads. Raises OutputError."""
    save = np.savez_compressed if compressed else np.savez
    with replacing_file(path) as file:
        save(file, **arrays)  # type: ignore[arg-type]


def sync(path: Path) -> None:
    """Write a file, or the list of names in a folder, from the system's cache to the disk."""
    if path.is_dir():
        return _sync_folder(path)
    handle = os.open(path, os.O_RDWR)  # Windows syncs only what may be written
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    """Where the system can: Windows and some network and shared file systems sync files alone."""
    if os.name == "nt":
        return
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NOT_OF_FOLDERS:
            raise


def part_of(path: Path) -> Path:
    """The name beside `path` that this process writes to."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME // 4]}~{_digest(name)}"  # a character has at most 4 bytes
    pid = os.getpid()
    return path.with_name(f".{name}.{pid}-{_own_start(pid)}@{_system()}.part")


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed left half written in a folder (not in those below it)."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _PART.fullmatch(entry.name)
            with suppress(OSError):  # another process may have removed it meanwhile
                if found is None or not _is_left(Path(entry.path), int(found[1]), found[2], found[3]):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


@lru_cache(4096)
def _remove_parts_once(folder: Path) -> None:
    """Once in a process, since a folder may hold a hundred thousand files."""
    remove_parts(folder)


def _is_left(part: Path, pid: int, start: str, system: str) -> bool:
    """Whether no living process writes a part."""
    now = start_of(pid) if system == _system() else None
    if now is None:  # it cannot be looked up
        return age_s(part) > _FOREIGN_S
    return not now or _digest(now) != start


def age_s(path: Path) -> float:
    """Seconds since a file was modified, by the clock of the storage, which may differ from that of this machine."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            now = os.fstat(file.fileno()).st_mtime
    except OSError:
        now = time.time()
    with suppress(FileNotFoundError):
        return now - path.stat().st_mtime
    return 0.0


@cache
def _own_start(pid: int) -> str:
    return _digest(start_of(pid) or "")


@cache
def _system() -> str:
    return _digest(f"{socket.gethostname()} {system_of_this_process()}")


def _digest(text: str) -> str:
    return f"{zlib.crc32(os.fsencode(text)):08x}"
