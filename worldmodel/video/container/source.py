"""Locate and read the bytes of a video: a whole file, or a member of a tar file, read without extraction."""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from worldmodel.files.output_errors import OutputError
from worldmodel.storage.errors import StorageError
from worldmodel.storage.objects import find_member, open_object
from worldmodel.storage.shard_index import SUFFIX, ShardIndex, read_index
from worldmodel.storage.store import version_of
from worldmodel.storage.urls import is_url
from worldmodel.video.errors import VideoError

MAX_HEADER_BYTES = 1 << 20  # of a tar member: a longer name is damage, and reading it could exhaust the memory


def shown_name(path: Path | str, member: str | None) -> str:
    """The name of a video in messages: `clip.mp4`, or `shard.tar::clip.mp4`."""
    return str(path) if member is None else f"{path}::{member}"


class ByteRange(io.RawIOBase):
    """The bytes [offset, offset + size) of a file, readable as a file."""

    def __init__(self, path: Path | str, offset: int, size: int) -> None:
        super().__init__()
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  closed by close()
        self._offset, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        self._file.seek(self._offset + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def open_bytes(path: Path | str, member: str | None) -> Iterator[io.RawIOBase]:
    """Open the bytes of a video, and close them on exit. Raises VideoError if the video is missing or empty.

    Raises StorageError for a URL whose object cannot be read, also on exit if a reader took that for the end of the file.
    """
    offset, size = locate(path, member)
    if is_url(path):
        remote = open_object(str(path), member)
        try:
            yield remote
        finally:
            remote.close()
            if remote.failure is not None:
                raise remote.failure
        return
    file = ByteRange(path, offset, size)
    try:
        yield file
    finally:
        file.close()


def locate(path: Path | str, member: str | None) -> tuple[int, int]:
    """(offset, size) in bytes of a video within the file `path`. Raises VideoError if the video is missing or empty.

    Raises StorageError for a URL whose object cannot be read, and OutputError if the local cache cannot be written.
    """
    name = shown_name(path, member)
    try:
        offset, size = _locate_remote(str(path), member) if is_url(path) else _locate_local(path, member)
    except (StorageError, OutputError):
        raise
    except FileNotFoundError:
        raise VideoError(name, "missing file", "no such file; was it moved since the manifest was written?") from None
    except KeyError:
        raise VideoError(name, "missing member", f"the tar has no regular file {member!r}") from None
    except PermissionError:
        raise VideoError(name, "no permission", "this user may not read the file") from None
    except (OSError, tarfile.TarError) as error:
        raise VideoError(name, "unreadable file", str(error)) from None
    if size == 0:
        raise VideoError(name, "empty file", "the file is empty (0 bytes)")
    return offset, size


def _locate_remote(url: str, member: str | None) -> tuple[int, int]:
    if member is None:
        return 0, version_of(url).size
    entry = find_member(url, member)
    return entry.offset, entry.size


def _locate_local(path: Path | str, member: str | None) -> tuple[int, int]:
    stat = os.stat(path)
    if member is None:
        return 0, stat.st_size
    with suppress(OSError):
        index = os.stat(f"{path}{SUFFIX}")
        if (entry := _indexed(str(path), index.st_mtime_ns, index.st_size, stat.st_size, member)) is not None:
            return entry
    return _members(str(path), stat.st_mtime_ns, stat.st_size)[member]


def file_version(path: Path | str, member: str | None) -> tuple[int, int]:
    """(version, size in bytes) of the file that holds a video. Raises VideoError if it is missing.

    The version is the time of the last change in ns; of a URL, a number that depends on its ETag.
    """
    locate(path, member)
    if is_url(path):
        found = version_of(str(path))
        return zlib.crc32(found.version.encode()), found.size
    stat = os.stat(path)
    return stat.st_mtime_ns, stat.st_size


def tar_members(path: Path | str) -> Iterator[tuple[str, int, int]]:
    """Yield (name, offset, size) of every regular file in an uncompressed tar, in order, in constant memory.

    Raises OSError or tarfile.TarError for a damaged tar.
    """
    with _Headers(path) as headers:
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


class _Headers(io.FileIO):
    """A tar file of which only headers are read. A header that claims an excessive length is an error, not an allocation."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header states a length of {size} bytes")
        return super().read(size)


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
