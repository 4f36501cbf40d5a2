"""The local cache of blocks of objects: a folder with a limit of its size. The blocks that were used least recently go first.

    WORLDMODEL_CACHE_DIR    the folder (default: ~/.cache/worldmodel/objects)
    WORLDMODEL_CACHE_GB     its limit in GB of 10^9 bytes (default 20)

All processes of a machine share it. A block belongs to one version of an object, so a changed object has other blocks.
Files that are made before they are uploaded lie in `unfinished`. They count towards the limit; those of killed processes are
removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from worldmodel.files.atomic import part_path, remove_parts, write_bytes
from worldmodel.files.output_errors import output_errors

DEFAULT_GB = 20.0
_ATTEMPTS = 5
_UNFINISHED = "unfinished"
_SCANS_PER_LIMIT = 32  # the folder is measured each time that this process has written this part of the limit

_written = 0  # bytes since the folder was measured
_measured = False
_lock = threading.Lock()
_fetching = tuple(threading.Lock() for _ in range(256))  # one per folder of the cache
_FOLDER, _BLOCK = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{64}")  # names; no other file is ever removed


def cache_folder() -> Path:
    """The folder of the cache."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("WORLDMODEL_CACHE_DIR") or os.path.join(home, "worldmodel", "objects"))


def cache_limit_bytes() -> int:
    """The limit of the cache. Raises ValueError for a setting that is not a positive number."""
    text = os.environ.get("WORLDMODEL_CACHE_GB") or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1e9:
        raise ValueError(f"WORLDMODEL_CACHE_GB is {text!r}; expected a positive number of GB, such as 20")
    return int(limit * 1e9)


def cached(key: str, size: int, fetch: Callable[[], bytes]) -> Path:
    """`cached_file` of bytes that `fetch` gives."""
    return cached_file(key, size, lambda path: write_bytes(path, fetch()))


def cached_file(key: str, size: int, write: Callable[[Path], None]) -> Path:
    """The file of a block with this many bytes. `write` is called if the cache does not have it, and writes it atomically.

    Threads of this process write a block once. Raises what `write` raises, and OutputError.
    """
    name = hashlib.sha256(key.encode()).hexdigest()
    path = cache_folder() / name[:2] / name
    with _fetching[int(name[:2], 16)]:
        if _has(path, size):
            return path
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(size)
        write(path)
        return path


def open_cached(key: str, size: int, fetch: Callable[[], bytes]) -> BinaryIO:
    """`cached`, opened for reading. Another process may remove a block in between; it is then fetched again."""
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            return open(cached(key, size, fetch), "rb", buffering=0)
    raise OSError(f"{cache_folder()}: blocks vanish as soon as they are written; raise WORLDMODEL_CACHE_GB")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """An empty folder in the folder of the cache, for files that will be uploaded. It is removed at the end.

    Those that killed processes of this machine have left are removed first; those of other machines after a day. Raises
    OutputError.
    """
    above = cache_folder() / _UNFINISHED
    folder = part_path(above / uuid.uuid4().hex)  # its name says which process it belongs to
    remove_parts(above)
    with output_errors(folder):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has(path: Path, size: int) -> bool:
    """Whether a block is there. If so, it counts as used now."""
    try:
        if path.stat().st_size != size:
            return False
        os.utime(path)
    except OSError:
        return False
    return True


def _make_room(size: int) -> None:
    """Count bytes that will be written. Measure the cache from time to time, and remove blocks until it has room again."""
    global _written, _measured
    limit = cache_limit_bytes()
    with _lock:
        _written += size
        if _measured and _written < limit // _SCANS_PER_LIMIT:
            return
        _written, _measured = 0, True
    blocks = []
    with suppress(OSError):
        for folder in os.scandir(cache_folder()):
            if not _FOLDER.fullmatch(folder.name):
                continue
            with suppress(OSError), os.scandir(folder.path) as entries:
                for entry in entries:
                    if _BLOCK.fullmatch(entry.name):
                        blocks.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
    remove_parts(cache_folder() / _UNFINISHED)
    used = sum(block[1] for block in blocks) + _bytes_below(cache_folder() / _UNFINISHED) + size
    for _, block_bytes, path in sorted(blocks):
        if used <= limit - limit // _SCANS_PER_LIMIT:
            break
        with suppress(OSError):  # a file that is open stays readable
            os.unlink(path)
            used -= block_bytes


def _bytes_below(folder: Path) -> int:
    """Size of all files below a folder. What is removed meanwhile counts nothing."""
    total = 0
    for above, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.stat(os.path.join(above, name)).st_size
    return total
