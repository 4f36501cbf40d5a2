"""Plain tar files on disk: where their members lie, by the index beside the tar or by its headers."""

from __future__ import annotations

import bisect
import io
import os
import tarfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.storage.shard_index import SUFFIX, ShardIndex, read_index

MAX_TARS, MAX_BYTES = 64, 128 << 20  # without an index, whose members a process remembers; one is always remembered
MAX_HEADER_BYTES = 1 << 20  # of a tar member: a longer name is damage, and reading it could exhaust the memory


def locate_member(path: Path | str, member: str) -> tuple[int, int]:
    """(offset, size) of a member. Raises KeyError, OSError and tarfile.TarError."""
    stat = os.stat(path)
    with suppress(OSError):
        index = os.stat(f"{path}{SUFFIX}")
        if (entry := _indexed(str(path), index.st_mtime_ns, index.st_size, stat.st_size, member)) is not None:
            return entry
    return _members(str(path), stat.st_mtime_ns, stat.st_size)[member]


@dataclass(frozen=True)
class TarMembers:
    """Where the members of a tar lie, sorted by name: about 24 bytes and a name each."""

    names: bytes  # joined
    ends: np.ndarray  # int64 [N], of each name in `names`
    places: np.ndarray  # int64 [N, 2], offset and size

    def __getitem__(self, name: str) -> tuple[int, int]:
        """(offset, size) of the member of this name. Raises KeyError."""
        wanted = _name_bytes(name)
        row = bisect.bisect_left(range(len(self.ends)), wanted, key=self._name)
        if row == len(self.ends) or self._name(row) != wanted:
            raise KeyError(name)
        return int(self.places[row, 0]), int(self.places[row, 1])

    @property
    def nbytes(self) -> int:
        return len(self.names) + self.ends.nbytes + self.places.nbytes

    def _name(self, row: int) -> bytes:
        return self.names[self.ends[row - 1] if row else 0 : self.ends[row]]


def members_of(places: Mapping[str, tuple[int, int]]) -> TarMembers:
    """The members of a tar from their (offset, size) by name."""
    rows = sorted((_name_bytes(name), place) for name, place in places.items())
    ends = np.cumsum([len(name) for name, _ in rows], dtype=np.int64)
    found = np.array([place for _, place in rows], np.int64).reshape(-1, 2)
    return TarMembers(b"".join(name for name, _ in rows), ends, found)


def _name_bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")  # how tarfile decodes a name that is not UTF-8


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


def _members(path: str, modified_ns: int, size: int) -> TarMembers:
    """The members of a tar without an index. Time and size are part of the key, so that a rewritten tar is read anew."""
    key = path, modified_ns, size
    found = _scanned.get(key)
    if found is None:
        found = _scanned[key] = members_of({name: (start, length) for name, start, length in tar_members(path)})
        while len(_scanned) > MAX_TARS or (len(_scanned) > 1 and sum(one.nbytes for one in _scanned.values()) > MAX_BYTES):
            _scanned.popitem(last=False)  # the one that was used least recently
    with suppress(KeyError):  # another thread may have removed it
        _scanned.move_to_end(key)
    return found


_scanned: OrderedDict[tuple[str, int, int], TarMembers] = OrderedDict()
