"""Files, objects, and members of tar files: where their bytes lie, and reading them.

Tables of a manifest (ground truth, signals) name a member in one text: `shard-000000.tar::a.npz`.
"""

from __future__ import annotations

import errno
import os
import tarfile
from contextlib import closing
from pathlib import Path

from worldmodel.storage.byte_files import ByteFile, FileRange
from worldmodel.storage.errors import StorageError
from worldmodel.storage.objects import find_member, open_object
from worldmodel.storage.store import version_of
from worldmodel.storage.tar_files import locate_member
from worldmodel.storage.urls import is_url

_TAR, _SEPARATOR = ".tar", "::"


def member_name(tar: str, member: str) -> str:
    """The name of a member as one text; `split_member` takes it apart."""
    return f"{tar}{_SEPARATOR}{member}"


def split_member(name: str) -> tuple[str, str | None]:
    """(path or URL, member) of a name: `a.tar::b.npz` -> (`a.tar`, `b.npz`), `a.npz` -> (`a.npz`, None)."""
    tar, separator, member = name.rpartition(_TAR + _SEPARATOR)
    return (tar + _TAR, member) if separator else (name, None)


def locate(path: Path | str, member: str | None) -> tuple[int, int]:
    """(offset, size) of a file, an object or a member. Raises KeyError for a member that is missing.

    Raises OSError (StorageError for a URL) and tarfile.TarError too.
    """
    if is_url(path):
        if member is None:
            return 0, version_of(str(path)).size
        entry = find_member(str(path), member)
        return entry.offset, entry.size
    return (0, os.stat(path).st_size) if member is None else locate_member(path, member)


def open_file(path: Path | str, member: str | None, place: tuple[int, int] | None = None) -> ByteFile:
    """Open a file, an object or a member for reading. place: what `locate` found. Raises what `locate` raises."""
    return open_object(str(path), member) if is_url(path) else FileRange(path, *(place or locate(path, member)))


def read_named(name: str, max_bytes: int) -> bytes:
    """The content of what a name of a table names. Raises FileNotFoundError where there is none.

    Raises ValueError where it is damaged or longer than `max_bytes`, and OSError where storage or machine fail.
    """
    path, member = split_member(name)
    try:
        with closing(open_file(path, member)) as file:
            if file.size > max_bytes:
                raise ValueError(f"it has {file.size:,} bytes; at most {max_bytes:,} are read")
            return _read_exactly(file)
    except KeyError:
        raise FileNotFoundError(errno.ENOENT, "the tar has no such member", name) from None
    except tarfile.TarError as error:
        raise ValueError(f"the tar cannot be read ({error})") from None
    except StorageError as error:
        if error.missing:
            raise FileNotFoundError(errno.ENOENT, error.detail, name) from None
        if error.unreachable:
            raise
        raise ValueError(error.detail) from None


def _read_exactly(file: ByteFile) -> bytes:
    content = file.read()
    if len(content) != file.size:
        raise ValueError(f"it ends after {len(content):,} of {file.size:,} bytes")
    return content
