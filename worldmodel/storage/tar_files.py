"""Plain tar files on disk: where their members lie, by the index beside the tar or by its headers."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from worldmodel.storage.shard_index import SUFFIX, ShardIndex, read_index

MAX_HEADER_BYTES = 1 << 20  # of a tar member: a longer name is damage, and reading it could exhaust the memory


def locate_member(path: Path | str, member: str) -> tuple[int, int]:
    """(offset, size) of a member. Raises KeyError, OSError and tarfile.TarError."""
    stat = os.stat(path)
    with suppress(OSError):
        index = os.stat(f"{path}{SUFFIX}")
        if (entry := _indexed(str(path), index.st_mtime_ns, index.st_size, stat.st_size, member)) is not None:
            return entry
    return _members(str(path), stat.st_mtime_ns, stat.st_size)[member]


def tar_members(path: Path | str) -> Iterator[tuple[str, int, int]]:
    """Yield (name, offset, size) of every regular file in an uncompressed tar, in order, in constant memory.

    Raises OSError or tarfile.TarError for a damaged tar.
    """
    with open(path, "rb", buffering=0) as file:
        yield from members_in(file)


def members_in(file: io.RawIOBase) -> Iterator[tuple[str, int, int]]:
    """`tar_members` of an open file."""
    headers: Any = _Headers(file)
    try:
        with tarfile.open(fileobj=headers, mode="r:") as tar:
            while (info := tar.next()) is not None:
                if info.size < 0:
                    raise tarfile.ReadError(f"the size of its member {info.name!r} is negative")
                if info.isreg() and not info.issparse():
                    yield info.name, info.offset_data, info.size
                tar.members = []  # type: ignore[attr-defined]  # else tarfile holds every header in memory
    except (ValueError, OverflowError) as error:
        raise tarfile.ReadError(f"a header cannot be parsed ({error})") from None


class _Headers:
    """A tar file of which only headers are read. A header that claims an excessive length is an error, not an allocation."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header states a length of {size} bytes")
        return self._file.read(size) or b""


def _indexed(path: str, modified_ns: int, index_bytes: int, tar_bytes: int, member: str) -> tuple[int, int] | None:
    """(offset, size) of a member by the index beside a shard; None if that is of another tar or does not have it."""
    index = _local_index(path, modified_ns, index_bytes)
    entry = index.find(member) if index is not None and index.tar_bytes == tar_bytes else None
    return None if entry is None else (entry.offset, entry.size)


@lru_cache(maxsize=64)
def _local_index(path: str, modified_ns: int, index_bytes: int) -> ShardIndex | None:
    try:
        return read_index(Path(f"{path}{SUFFIX}"))
    except ValueError:  # a file of another program; the headers of the tar say where its members are
        return None


@lru_cache(maxsize=8)
def _members(path: str, modified_ns: int, size: int) -> dict[str, tuple[int, int]]:
    """Offsets by name; the time and size of the tar are part of the key, so that a rewritten tar is read anew."""
    return {name: (offset, length) for name, offset, length in tar_members(path)}
