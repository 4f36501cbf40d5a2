"""Locate and read the bytes of a video: a whole file, an object, or a member of a tar file, read without extraction."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worldmodel.files.output_errors import OutputError
from worldmodel.storage import members
from worldmodel.storage.byte_files import ByteFile
from worldmodel.storage.errors import StorageError
from worldmodel.storage.store import version_of
from worldmodel.storage.urls import is_url
from worldmodel.video.errors import VideoError


def shown_name(path: Path | str, member: str | None) -> str:
    """The name of a video in messages: `clip.mp4`, or `shard.tar::clip.mp4`."""
    return str(path) if member is None else members.member_name(str(path), member)


@contextmanager
def open_bytes(path: Path | str, member: str | None) -> Iterator[ByteFile]:
    """Open the bytes of a video, and close them on exit. Raises VideoError if the video is missing or empty.

    Raises StorageError for a URL whose object cannot be read, also on exit if a reader took that for the end of the file.
    """
    file = members.open_file(path, member, locate(path, member))
    try:
        yield file
    finally:
        file.close()
        if file.failure is not None:
            raise file.failure


def locate(path: Path | str, member: str | None) -> tuple[int, int]:
    """(offset, size) in bytes of a video within the file `path`. Raises VideoError if the video is missing or empty.

    Raises StorageError for a URL whose object cannot be read, and OutputError if the local cache cannot be written.
    """
    name = shown_name(path, member)
    try:
        offset, size = members.locate(path, member)
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
