"""Whole objects: upload, conditional writing, listing, download and removal."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.files.atomic import atomic_path, open_part
from worldmodel.storage.errors import StorageError
from worldmodel.storage.store import ObjectVersion, latest_version, obstore, read_range, retried, version_of
from worldmodel.storage.urls import is_writable_url, split_url

IN_FLIGHT = 8  # range reads of one download at the same time
_PART_BYTES = 16 << 20  # of a download
_DOWNLOADS = 4  # of an object that is replaced meanwhile, such as a log of a run that goes on


@dataclass(frozen=True)
class Written:
    """What a conditional write gives: the version of the object that was written, as its store names it."""

    etag: str | None
    version: str | None


def upload(source: Path | bytes, url: str, on_part: Callable[[int], None] = lambda _: None) -> None:
    """Upload a file, or bytes. The object is replaced as a whole, at the end. Raises StorageError and OSError.

    on_part: called each time that the client reads another part of a file, with its start. A new attempt begins at 0 again.
    """

    with nullcontext(source) if isinstance(source, bytes) else _ReadFile(source, on_part) as content:

        def put(store: Any, key: str) -> None:
            if not isinstance(content, bytes):
                content.seek(0)
            obstore().put(store, key, content)

        retried(url, put, writes=True)
    version_of.cache_clear()


class _ReadFile(io.FileIO):
    """A file that calls a function with its position before each read."""

    def __init__(self, path: Path, on_read: Callable[[int], None]) -> None:
        super().__init__(path)
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        self._on_read(self.tell())
        return super().read(size)


def write_if(url: str, content: bytes, before: Written | None) -> Written | None:
    """Write a small object if it still is the version `before`; None: if there is no object. Raises StorageError.

    Returns None if it is not: another process has written it. Of several processes, one succeeds.
    """
    conflict = obstore().exceptions.AlreadyExistsError, obstore().exceptions.PreconditionError

    def put(store: Any, key: str) -> Any:
        found = {} if before is None else {"e_tag": before.etag, "version": before.version}
        mode: Any = {name: value for name, value in found.items() if value is not None} or "create"
        try:
            return obstore().put(store, key, content, mode=mode)
        except conflict:
            return None

    result = retried(url, put, writes=True)
    if result is not None:
        return Written(result["e_tag"], result["version"])
    found = read_whole(url)  # the answer to an earlier attempt of this call may have been lost
    return found[1] if found is not None and found[0] == content else None


def read_whole(url: str) -> tuple[bytes, Written] | None:
    """The content of a small object and its version; None if there is none. Raises StorageError."""

    def get(store: Any, key: str) -> tuple[bytes, Written] | None:
        try:
            answer = obstore().get(store, key)
        except FileNotFoundError:
            return None
        content = bytes(answer.bytes())
        if len(content) != int(answer.meta["size"]):
            raise ConnectionError(f"{len(content)} of {answer.meta['size']} bytes arrived")
        return content, Written(answer.meta["e_tag"], answer.meta["version"])

    return retried(url, get)


def list_objects(folder: str) -> dict[str, int]:
    """Sizes of all objects below the URL of a folder, by their names relative to it. Raises StorageError."""
    return {name: size for name, (size, _) in list_versions(folder).items()}


def list_versions(folder: str) -> dict[str, tuple[int, str | None]]:
    """(size, ETag) of all objects below the URL of a folder, by their names relative to it. Raises StorageError.

    Markers of folders are left out. Consoles make them: empty objects `folder/`, which the client lists as `folder`.
    """
    if not is_writable_url(folder):
        detail = "folders are listed at s3:// and gs:// only; a model on the Hugging Face hub is named hf:OWNER/NAME"
        raise StorageError(folder, detail, store=split_url(folder)[0], unreachable=False)

    def find(store: Any, key: str) -> dict[str, tuple[int, str | None]]:
        below = _prefix(key)
        found = dict[str, tuple[int, str | None]]()
        for chunk in obstore().list(store, prefix=below or None, chunk_size=1000):
            for meta in chunk:
                path, size = str(meta["path"]), int(meta["size"])
                name = path.removeprefix(below)
                if name and path.startswith(below) and (size or name not in found):  # `a` may be there beside `a/`
                    found[name] = size, meta["e_tag"]
        return found

    found = retried(folder, find, writes=True)
    markers = _markers(folder, found)
    return {name: version for name, version in found.items() if name not in markers} if markers else found


def _markers(folder: str, found: Mapping[str, tuple[int, str | None]]) -> set[str]:
    """Names of empty objects that only mark a folder: it has other objects, or there is no object of the listed name."""
    empty = {name for name, (size, _) in found.items() if not size}
    if not empty:
        return set()
    markers = {parent for name in found for parent in _parents(name) if parent in empty}

    def is_marker(name: str) -> bool:
        try:
            retried(folder, lambda store, key: obstore().head(store, f"{_prefix(key)}{name}"))
        except StorageError as error:
            if error.missing:
                return True
            url = f"{folder.rstrip('/')}/{name}"
            raise StorageError(url, error.detail, store=error.store, unreachable=error.unreachable) from None
        return False

    asked = sorted(empty - markers)
    with ThreadPoolExecutor(IN_FLIGHT, "list") as pool:
        return markers | {name for name, is_one in zip(asked, pool.map(is_marker, asked), strict=True) if is_one}


def _parents(name: str) -> Iterator[str]:
    """The folders of a name: "a/b/c" -> "a/b", "a"."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _prefix(key: str) -> str:
    """What the keys of all objects below a folder begin with."""
    return f"{key.rstrip('/')}/" if key.strip("/") else ""


def delete(urls: Sequence[str]) -> None:
    """Remove objects one after another, in this order. Raises StorageError. Objects that are missing are no error."""

    def remove(store: Any, key: str) -> None:
        try:
            obstore().delete(store, key)
        except FileNotFoundError:
            return

    for url in urls:
        retried(url, remove, writes=True)


def download(url: str, path: Path) -> None:
    """Write an object to a file, atomically, by range reads. Raises StorageError and OutputError.

    It begins again, some times, if the object is replaced meanwhile.
    """
    for left in reversed(range(_DOWNLOADS)):
        try:
            download_version(latest_version(url), path)
            return
        except StorageError as error:
            if not error.changed or not left:
                raise


def download_version(found: ObjectVersion, path: Path, part_bytes: int = _PART_BYTES) -> None:
    """Write this version of an object to a file, atomically, by range reads. Raises StorageError and OutputError."""
    lock = threading.Lock()
    with atomic_path(path) as part, open_part(part, path) as file:

        def fetch(start: int) -> None:
            data = read_range(found, start, min(found.size, start + part_bytes))
            with lock:
                file.seek(start)
                file.write(data)

        with ThreadPoolExecutor(IN_FLIGHT, "download") as pool:
            for _ in pool.map(fetch, range(0, found.size, part_bytes)):
                pass


def folder_url(url: str) -> str:
    """The URL of a folder without a slash at its end. Raises UrlError for one with credentials or without a bucket."""
    split_url(url)
    return url.rstrip("/")
