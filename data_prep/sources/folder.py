"""Every video below a folder: video files, videos in tars, folders of frames. In a fixed order, whatever the disk's."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from data_prep.sources.item import Item
from worldmodel.video.frame_folder import SUFFIXES as FRAMES
from worldmodel.video.source import tar_members

# fmt: off
VIDEOS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".asf", ".flv",
    ".f4v", ".ogv", ".3gp", ".3g2", ".vob", ".gif", ".y4m", ".h264", ".hevc",
)
# fmt: on
TARS, COMPRESSED_TARS = (".tar",), (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def find(root: Path) -> Iterator[Item]:
    """Items below `root`, sorted folder by folder. Links to folders are followed, except back into themselves."""
    yield from _walk(str(root), ())


def _walk(folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[Item]:
    try:
        stat = os.stat(folder)
        here = (stat.st_dev, stat.st_ino)
        if here in above:
            return  # a link that leads back up
        names, folders, unwritable = _listing(folder)
    except OSError as error:
        yield Item(folder, problem="unreadable folder", detail=str(error))
        return
    frames = videos = 0
    for name in names:
        lower, path = name.as_py().lower(), os.path.join(folder, name.as_py())
        if lower.endswith(FRAMES):
            frames += 1
            continue
        for item in _items(lower, path):
            videos += 1
            yield item
    for name in unwritable:
        yield Item(os.path.join(folder, name), problem="name is not UTF-8")
    if frames and not videos:  # beside videos, pictures are thumbnails
        yield Item(folder)
    for name in folders:
        yield from _walk(os.path.join(folder, name.as_py()), (*above, here))


def _listing(folder: str) -> tuple[pa.Array, pa.Array, list[str]]:
    """Names of files and of folders, sorted, as Arrow arrays: a million strings are 100 MB in Python. And names that
    cannot be written down, escaped."""
    files, folders, unwritable = _Names(), _Names(), []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not _is_text(entry.name):
                unwritable.append(entry.name.encode(errors="backslashreplace").decode())
                continue
            (folders if entry.is_dir() else files).add(entry.name)
    return files.sorted(), folders.sorted(), sorted(unwritable)


class _Names:
    """Strings gathered in chunks of Arrow memory."""

    def __init__(self) -> None:
        self._chunks: list[pa.Array] = []
        self._fresh: list[str] = []

    def add(self, name: str) -> None:
        self._fresh.append(name)
        if len(self._fresh) == 10_000:
            self._flush()

    def _flush(self) -> None:
        self._chunks.append(pa.array(self._fresh, pa.string()))
        self._fresh = []

    def sorted(self) -> pa.Array:
        self._flush()
        return pa.concat_arrays(self._chunks).sort()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _items(lower: str, path: str) -> Iterator[Item]:
    """What a file holds: itself, the videos in a tar, or nothing of ours."""
    if lower.endswith(VIDEOS):
        yield Item(path)
    elif lower.endswith(TARS):
        yield from _tar_items(path)
    elif lower.endswith(COMPRESSED_TARS):
        yield Item(path, problem="compressed tar")


def _tar_items(path: str) -> Iterator[Item]:
    try:
        for member, _, _ in tar_members(path):
            if member.lower().endswith(VIDEOS) and _is_text(member):
                yield Item(path, member)
    except (OSError, tarfile.TarError) as error:
        yield Item(path, problem="damaged tar", detail=str(error))
