"""Objects and members of shards as files: cached blocks, several in flight, each checked against its digest."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from worldmodel.files.output_errors import OutputError
from worldmodel.storage.byte_files import ByteFile
from worldmodel.storage.cache import cached_file, open_cached
from worldmodel.storage.errors import StorageError
from worldmodel.storage.shard_index import BLOCK_BYTES, SUFFIX, Member, ShardIndex, index_of, read_index
from worldmodel.storage.store import ObjectVersion, read_range, version_of
from worldmodel.storage.tar_files import members_in
from worldmodel.storage.transfer import download_version
from worldmodel.storage.urls import is_url, split_url, split_version

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
    """Where a member lies in a tar: a shard with its index, or a tar without one whose URL names its version.

    Raises StorageError, and KeyError for a member that the tar does not have.
    """
    index, found = _index(url), version_of(url)
    if index.tar_bytes != found.size:
        detail = f"it has {found.size} bytes, its index says {index.tar_bytes}: truncated, or replaced without its index"
        raise StorageError(url, detail, store=split_url(url)[0], unreachable=False)
    if (entry := index.find(name)) is None:
        raise KeyError(name)
    return entry


def members_at(url: str) -> Iterator[tuple[str, int, int]]:
    """Yield (name, offset, size) of every regular file in a tar at a URL, in order, by its index or else by its headers.

    Members that share a name are repeated where there is no index. Raises StorageError and tarfile.TarError.
    """
    index = _index_beside(url)
    if index is not None:
        yield from index.places()
        return
    with closing(open_object(url, None)) as file:
        yield from members_in(file)


@lru_cache(maxsize=64)
def _index(url: str) -> ShardIndex:
    """The index beside a shard. Of a tar without one whose URL names its version, it is made of the headers."""
    index = _index_beside(url)
    if index is not None:
        return index
    try:
        members = {name: Member(name, offset, size, ()) for name, offset, size in members_at(url)}
    except tarfile.TarError as error:
        raise StorageError(url, f"a damaged tar ({error})", store=split_url(url)[0], unreachable=False) from None
    return index_of(list(members.values()), version_of(url).size)


def _index_beside(url: str) -> ShardIndex | None:
    """The index beside a shard; None where there is none and the URL of the tar names its version. Raises StorageError."""
    plain, version = split_version(url)
    try:
        return read_index(local_copy(plain + SUFFIX))
    except StorageError as error:
        if error.missing and version is not None:
            return None
        raise
    except ValueError:
        detail = "not the index of a shard, or damaged; make it again with `python -m data_prep shard`"
        raise StorageError(plain + SUFFIX, detail, store=split_url(url)[0], unreachable=False) from None


def local_copy(url: str) -> Path:
    """A file of the cache with the whole content of an object. Raises StorageError."""
    found = version_of(url)
    key = f"{url} {found.version} {found.size}"
    return cached_file(key, found.size, lambda path: download_version(found, path, BLOCK_BYTES))


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
