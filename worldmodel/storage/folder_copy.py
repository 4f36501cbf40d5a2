"""A local copy of a folder in object storage, for readers that need files.

Copies lie in the folder of the cache, below `copies`; they do not count towards its limit.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from worldmodel.files.folder_lock import lock_folder
from worldmodel.files.log_rows import append_row, read_rows
from worldmodel.storage.cache import cache_folder
from worldmodel.storage.errors import StorageError
from worldmodel.storage.transfer import IN_FLIGHT, download, folder_url, list_versions
from worldmodel.storage.urls import split_url, stays_below, with_version

_VERSIONS = "versions.jsonl"  # beside the copy: the version of each file that was downloaded
_WAIT_S = 3600.0  # for another process of this machine that makes the same copy


def copy_of_folder(url: str) -> Path:
    """Download all objects below a URL into a folder of the cache, which is named like the URL. Returns the folder.

    Objects that were downloaded before, with the same ETag, are not downloaded again. Files whose object is gone are removed.
    Raises StorageError, UrlError, OutputError, and FolderLockError.
    """
    url = folder_url(url)
    store = split_url(url)[0]
    folder = cache_folder() / "copies" / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rpartition("/")[2]
    with lock_folder(folder.parent, "try again later", wait_s=_WAIT_S):
        found = {name: version for name, version in list_versions(url).items() if stays_below(name)}
        if not found:
            raise StorageError(url, "there are no objects below this URL", store=store, unreachable=False, missing=True)
        note, lock = folder.parent / _VERSIONS, threading.Lock()
        known = {row.get("name"): (row.get("size"), row.get("etag")) for row in read_rows(note)}
        missing = [name for name, version in found.items() if known.get(name) != version or not _has(folder / name, version)]

        def fetch(name: str) -> None:
            size, etag = found[name]
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            download(with_version(f"{url}/{name}", etag), folder / name)
            with lock:
                append_row(note, {"name": name, "size": size, "etag": etag})

        if missing:
            print(f"{url}: downloading {len(missing)} of {len(found)} objects to {folder}", file=sys.stderr, flush=True)
        with ThreadPoolExecutor(IN_FLIGHT, "copy") as pool:
            for _ in pool.map(fetch, missing):
                pass
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            if path.relative_to(folder).as_posix() not in found:
                path.unlink()
    return folder


def _has(path: Path, version: tuple[int, str | None]) -> bool:
    """Whether a file that was downloaded in this version is there. Without an ETag, nobody can tell."""
    size, etag = version
    return etag is not None and path.is_file() and path.stat().st_size == size
