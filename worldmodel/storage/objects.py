"""Objects and members of shards as files: cached blocks, several in flight, each checked against its digest."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from worldmodel.files.output_errors import OutputError
from worldmodel.storage.byte_files import ByteFile
from worldmodel.storage.cache import cached, open_cached
from worldmodel.storage.errors import StorageError
from worldmodel.storage.shard_index import BLOCK_BYTES, SUFFIX, Member, ShardIndex, read_index
from worldmodel.storage.store import ObjectVersion, read_range, version_of
from worldmodel.storage.urls import is_url, split_url

IN_FLIGHT = 8  # range reads at the same time, per process


class RemoteFile(ByteFile):
    """The bytes of an object or of a member of a shard. Blocks are fetched when they are needed.

    failure: the first StorageError, or OutputError of the cache. FFmpeg may take a failed read for the end of the file, so it
    is raised again on closing.
    """

    def __init__(self, found: ObjectVersion, offset: int, size: int, digests: Sequence[bytes] = ()) -> None:
        super().__init__(size)
        self._object, self._offset, self._digests = found, offset, digests
        self._number = -1
        self._file: BinaryIO = io.BytesIO()  # the block that was read last
        if 0 < size <= BLOCK_BYTES:
            self._select(0)

    def read_at(self, start: int, stop: int) -> bytes:
        parts = []
        while start < stop:
            number, within = divmod(start, BLOCK_BYTES)
            self._select(number)
            self._file.seek(within)
            part = self._file.read(min(BLOCK_BYTES - within, stop - start))
            if not part:
                raise OSError(f"{self._file.name}: a block of the cache was cut off; delete it")
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _select(self, number: int) -> None:
        """Open the file of a block."""
        if self._number == number:
            return
        try:
            opened = _open_block(self._object, self._offset, self.size, number, self._digests)
        except (StorageError, OutputError) as error:
            self.failure = self.failure or error
            raise
        self._file.close()
        self._number, self._file = number, opened


def open_object(url: str, member: str | None) -> RemoteFile:
    """Open an object, or a member of a shard. Raises StorageError, and KeyError for a member that the shard does not have."""
    if member is None:
        found = version_of(url)
        return RemoteFile(found, 0, found.size)
    entry = find_member(url, member)
    return RemoteFile(version_of(url), entry.offset, entry.size, entry.digests)


def find_member(url: str, name: str) -> Member:
    """Where a member lies in a shard. Raises StorageError, and KeyError for a member that the shard does not have."""
    index, found = _index(url), version_of(url)
    if index.tar_bytes != found.size:
        detail = f"it has {found.size} bytes, its index says {index.tar_bytes}: truncated, or replaced without its index"
        raise StorageError(url, detail, store=split_url(url)[0], unreachable=False)
    if (entry := index.find(name)) is None:
        raise KeyError(name)
    return entry


@lru_cache(maxsize=64)
def _index(url: str) -> ShardIndex:
    path = local_copy(url + SUFFIX)
    try:
        return read_index(path)
    except ValueError:
        detail = "not the index of a shard, or damaged; make it again with `python -m data_prep shard`"
        raise StorageError(url + SUFFIX, detail, store=split_url(url)[0], unreachable=False) from None


def local_copy(url: str) -> Path:
    """A file of the cache with the whole content of an object. Raises StorageError."""
    found = version_of(url)

    def fetch() -> bytes:
        starts = range(0, found.size, BLOCK_BYTES)
        # not the pool of `prefetch`: its threads call this function, and would wait for one another
        with ThreadPoolExecutor(IN_FLIGHT, "copy") as pool:
            return b"".join(pool.map(lambda at: read_range(found, at, min(found.size, at + BLOCK_BYTES)), starts))

    return cached(f"{url} {found.version} {found.size}", found.size, fetch)


def prefetch(wanted: Sequence[tuple[str, str | None]]) -> None:
    """Begin to fetch the first block of objects or members, and return at once. Errors are left to the reader.

    wanted: (path or URL, member). Paths of files are ignored.
    """
    for url, member in dict.fromkeys(wanted):
        if is_url(url):
            _pool(os.getpid()).submit(_fetch_first, url, member)


def _fetch_first(url: str, member: str | None) -> None:
    try:
        open_object(url, member).close()
    except Exception:  # the same read is made again by the reader, which reports it
        return


@lru_cache(maxsize=1)
def _pool(_pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(IN_FLIGHT, "storage")


def _open_block(found: ObjectVersion, offset: int, size: int, number: int, digests: Sequence[bytes]) -> BinaryIO:
    start = number * BLOCK_BYTES
    stop = min(size, start + BLOCK_BYTES)

    def fetch() -> bytes:
        data = read_range(found, offset + start, offset + stop)
        if digests and hashlib.sha256(data).digest() != digests[number]:
            detail = "its content is not what its index says: it was changed, or replaced without its index"
            raise StorageError(found.url, detail, store=split_url(found.url)[0], unreachable=False)
        return data

    return open_cached(f"{found.url} {found.version} {found.size} {offset + start} {stop - start}", stop - start, fetch)
