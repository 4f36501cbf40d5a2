"""Atomic writing: at any time a file or folder has its old content or its new content, never a part of it.

    .NAME.PID-START@SYSTEM.part    temporary file beside NAME; synced to the disk, then renamed to NAME

PID, START and SYSTEM identify the process that writes it: its number, a digest of its start time,
and a digest of machine, boot and container. A killed process leaves its temporary files;
`remove_parts` removes those of processes that no longer run. This module does not import torch.
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

from worldmodel.files.lock_owner import process_start, system_id
from worldmodel.files.output_errors import ONLY_ON_WRITING, OutputError, output_errors

_PART = re.compile(r"\..+\.(\d+)-([0-9a-f]{8})@([0-9a-f]{8})\.part")
_MAX_NAME_BYTES = 150  # longer names are shortened in the name of their temporary file; file systems allow 255
_FOLDER_SYNC_UNSUPPORTED = {errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EISDIR}
_ABANDONED_AFTER_S = 86_400.0  # age at which a temporary file of an unknown process counts as abandoned


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give the path of a temporary file. On success it is synced to the disk and renamed to `path`, else removed.

    The permissions of the file follow the user's umask, whatever code writes it. A symbolic link at
    `path` is replaced; the file that it points to does not change.

    Raises OutputError where the file cannot be written. An OSError raised inside the block becomes
    an OutputError only if it is a disk-full or read-only error, or names the temporary file. A block
    that also reads files must distinguish other errors itself (`output_errors`).
    """
    part = part_path(path)
    _remove_parts_once(path.parent)
    try:
        with output_errors(path), open(part, "wb") as file:
            mode = os.fstat(file.fileno()).st_mode
        try:
            yield part
        except OSError as error:
            of_another = isinstance(error, OutputError) and error.filename != str(part)
            if of_another or (error.errno not in ONLY_ON_WRITING and str(error.filename) != str(part)):
                raise
            raise OutputError.of(error.errno or 0, path) from error
        with output_errors(path):
            if part.stat().st_mode != mode:
                part.chmod(mode)
            sync_to_disk(part)
            os.replace(part, path)
    finally:
        with suppress(OSError):  # an error of the folder has been raised already
            part.unlink(missing_ok=True)


class _Part(io.FileIO):
    """A temporary file that is open for writing. Its errors are OutputErrors that name the final path."""

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
def atomic_file(path: Path) -> Iterator[io.BufferedWriter]:
    """Give an open binary file. On success it becomes `path`, else it is removed; see `atomic_path`.

    Every error of writing is an OutputError, also in a block that reads other files.
    """
    with atomic_path(path) as part, open_part(part, path) as file:
        yield file


def open_part(part: Path, path: Path) -> io.BufferedWriter:
    """Open the path that `atomic_path(path)` gave for writing bytes. Every error of writing is an OutputError of `path`."""
    return io.BufferedWriter(_Part(part, path))


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder. On success it becomes `path`, else it is removed. Raises OSError.

    The block must sync its files, or write them with functions of this module. An existing folder at
    `path` is deleted first, so it must not be needed any more.
    """
    part = part_path(path)
    _remove_parts_once(path.parent)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        sync_to_disk(part)
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
        sync_to_disk(path.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises OutputError."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write text atomically, in UTF-8, without conversion of line ends. Raises OutputError."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically. Raises OutputError, and ValueError for NaN and infinity."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike], *, compressed: bool = False) -> None:
    """Write named arrays atomically as NPZ, without pickles. Raises OutputError."""
    save = np.savez_compressed if compressed else np.savez
    with atomic_file(path) as file:
        save(file, **arrays)  # type: ignore[arg-type]


def sync_to_disk(path: Path) -> None:
    """Flush a file, or the directory entries of a folder, to the disk (fsync)."""
    if path.is_dir():
        return _sync_folder(path)
    handle = os.open(path, os.O_RDWR)  # Windows syncs only files that are open for writing
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    """Flush a folder where the system supports it. Windows and some network file systems do not."""
    if os.name == "nt":
        return
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _FOLDER_SYNC_UNSUPPORTED:
            raise


def part_path(path: Path) -> Path:
    """The temporary path beside `path` for this process."""
    name = path.name
    if len(os.fsencode(name)) > _MAX_NAME_BYTES:
        name = f"{name[: _MAX_NAME_BYTES // 4]}~{_digest(name)}"  # a character has at most 4 bytes
    pid = os.getpid()
    return path.with_name(f".{name}.{pid}-{_start_digest(pid)}@{_system_digest()}.part")


def remove_parts(folder: Path) -> None:
    """Remove the temporary files of killed processes from a folder, not from its subfolders."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _PART.fullmatch(entry.name)
            with suppress(OSError):  # another process may have removed it meanwhile
                if found is None or not _is_abandoned(Path(entry.path), int(found[1]), found[2], found[3]):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


@lru_cache(4096)
def _remove_parts_once(folder: Path) -> None:
    """Call `remove_parts` once per folder and process, because a folder may have 100,000 files."""
    remove_parts(folder)


def _is_abandoned(part: Path, pid: int, start: str, system: str) -> bool:
    """Whether the process that wrote a temporary file no longer runs."""
    running_since = process_start(pid) if system == _system_digest() else None
    if running_since is None:  # the process cannot be looked up from here
        return file_age_s(part) > _ABANDONED_AFTER_S
    return not running_since or _digest(running_since) != start


def file_age_s(path: Path) -> float:
    """Seconds since a file was modified, by the clock of the storage, which may differ from the clock of this machine."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            now = os.fstat(file.fileno()).st_mtime
    except OSError:
        now = time.time()
    with suppress(FileNotFoundError):
        return now - path.stat().st_mtime
    return 0.0


@cache
def _start_digest(pid: int) -> str:
    return _digest(process_start(pid) or "")


@cache
def _system_digest() -> str:
    return _digest(f"{socket.gethostname()} {system_id()}")


def _digest(text: str) -> str:
    return f"{zlib.crc32(os.fsencode(text)):08x}"
