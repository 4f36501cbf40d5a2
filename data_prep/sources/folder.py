"""All videos below a folder: video files, videos in tars, and folders of frames."""

from __future__ import annotations

import os
import stat
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from data_prep.sources.item import Item
from data_prep.sources.skipped import Int64Set, SkippedFiles
from worldmodel.files.output_mark import MARKER_NAMES, writer_of
from worldmodel.storage.errors import fault_outside_file
from worldmodel.storage.tar_files import tar_members
from worldmodel.video.frame_folder.frames import SUFFIXES as FRAMES

# fmt: off
VIDEOS = (
    ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".mk3d", ".webm", ".avi", ".divx", ".xvid", ".mpg", ".mpeg", ".mpe", ".mpv", ".m1v",
    ".m2v", ".m2p", ".mp2v", ".mpv2", ".ts", ".m2ts", ".mts", ".m2t", ".trp", ".tp", ".vob", ".evo", ".mod", ".tod", ".vro",
    ".wmv", ".asf", ".wtv", ".dvr-ms", ".flv", ".f4v", ".ogv", ".ogm", ".3gp", ".3g2", ".3gpp", ".amv", ".rm", ".rmvb",
    ".nut", ".nsv", ".mxf", ".gxf", ".lxf", ".dv", ".dif", ".mj2", ".bik", ".bk2", ".smk", ".roq", ".fli", ".flc",
    ".gif", ".apng", ".y4m", ".h261", ".h263", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".h266", ".266", ".vvc",
    ".av1", ".obu", ".ivf", ".vc1", ".mjpeg", ".mjpg", ".insv",
)
# fmt: on
TARS, COMPRESSED_TARS = (".tar",), (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
COMPRESSED = "only uncompressed tars can be read in place; decompress it"


def find(root: Path, skipped: SkippedFiles) -> Iterator[Item]:
    """Items below `root`, sorted folder by folder. Other files are counted in `skipped`.

    Links are followed, but every file and folder is visited once, under the first of its names.
    Folders that commands of this project wrote are skipped, except `root` itself.
    """
    return _Walk(skipped).below(str(root))


@dataclass
class _Walk:
    """A walk through folders that ends even where links form a cycle."""

    skipped: SkippedFiles
    visited: Int64Set = field(default_factory=Int64Set)  # device and inode of files and folders

    def below(self, root: str) -> Iterator[Item]:
        waiting = [iter([root])]  # folders to visit, per level; no recursion, since paths can be deep
        while waiting:
            folder = next(waiting[-1], None)
            if folder is None:
                waiting.pop()
                continue
            try:
                if not self._is_new(os.stat(folder)):
                    continue
                listing = _listing(folder)
            except OSError as error:
                yield Item(folder, problem="unreadable folder", detail=str(error))
                continue
            command = writer_of(folder) if listing.has_marker and folder != root and self.skipped.skip_own_outputs else None
            if command is not None:
                if count := _count_videos(folder):
                    self.skipped.own_outputs[folder] = command, count
                continue
            yield from self._items_in(folder, listing)
            waiting.append(_joined(folder, listing.folders))

    def _items_in(self, folder: str, listing: _Listing) -> Iterator[Item]:
        """The items of one folder, without those of its subfolders."""
        images: Counter[str] = Counter()
        has_videos = False
        for name in listing.files:
            lower, path = name.as_py().lower(), os.path.join(folder, name.as_py())
            if lower.endswith(FRAMES):
                images[os.path.splitext(lower)[1]] += 1
            elif lower.endswith(VIDEOS + TARS + COMPRESSED_TARS):
                has_videos = True
                yield from self._items_of_file(lower, path)
            else:
                self.skipped.add_file(lower)
        for name in listing.unwritable:
            yield Item(os.path.join(folder, name), problem="name is not UTF-8", detail="rename it; no table can hold this name")
        if has_videos:  # images beside videos are taken for thumbnails
            self.skipped.by_suffix.update(images)
        elif images:
            yield Item(folder)

    def _items_of_file(self, lower: str, path: str) -> Iterator[Item]:
        """The items of a file: a video, the videos in a tar, or an item with a problem."""
        try:
            status = os.stat(path)
        except OSError:
            yield Item(path)  # the inspection will find what is wrong with it
            return
        if not stat.S_ISREG(status.st_mode):
            yield Item(path, problem="not a file", detail="a pipe, a socket or a device; reading it may never end")
        elif not self._is_new(status):
            pass
        elif lower.endswith(VIDEOS):
            yield Item(path)
        elif lower.endswith(COMPRESSED_TARS):
            yield Item(path, problem="compressed tar", detail=COMPRESSED)
        else:
            yield from items_of_tar(path, tar_members(path), self.skipped)

    def _is_new(self, status: os.stat_result) -> bool:
        """Whether a file or folder is found for the first time.

        Otherwise it is counted as repeated.
        """
        new = self.visited.add(hash((status.st_dev, status.st_ino)))
        self.skipped.repeats += not new
        return new


def items_of_tar(path: str, members: Iterable[tuple[str, int, int]], skipped: SkippedFiles) -> Iterator[Item]:
    """The items of a tar with these members. If some share a name, the last one is used, as in an extraction.

    Raises StorageError for a store that does not answer.
    """
    names = Int64Set()
    try:
        for member, _, _ in members:
            if not member.lower().endswith(VIDEOS):
                skipped.add_file(member)
            elif not _is_text(member):
                shown = member.encode(errors="backslashreplace").decode()
                yield Item(path, shown, problem="name is not UTF-8", detail="rename it; no table can hold this name")
            elif names.add(hash(member)):
                yield Item(path, member)
            else:
                detail = "the tar has several members of this name; only the last one is used, as when it is extracted"
                yield Item(path, member, problem="repeated member", detail=detail)
    except (OSError, tarfile.TarError) as error:
        if (outside := fault_outside_file(error)) is not None:
            raise outside from None
        yield Item(path, problem="damaged tar", detail=str(error))


def _joined(folder: str, names: pa.Array) -> Iterator[str]:
    return (os.path.join(folder, name.as_py()) for name in names)


def _count_videos(folder: str) -> int:
    """The number of videos and images below a folder. Links to folders are not followed."""
    return sum(name.lower().endswith(VIDEOS + FRAMES) for _, _, names in os.walk(folder) for name in names)


@dataclass(frozen=True)
class _Listing:
    """Sorted names in a folder, without hidden ones, as Arrow arrays.

    A million Python strings would take 100 MB.
    """

    files: pa.Array
    folders: pa.Array
    unwritable: list[str]  # names that are not valid text, escaped
    has_marker: bool  # a command of this project may have written the folder


def _listing(folder: str) -> _Listing:
    files, folders, unwritable, has_marker = _Names(), _Names(), [], False
    with os.scandir(folder) as entries:
        for entry in entries:
            has_marker = has_marker or entry.name in MARKER_NAMES
            if entry.name.startswith("."):
                continue
            if not _is_text(entry.name):
                unwritable.append(entry.name.encode(errors="backslashreplace").decode())
                continue
            (folders if _is_folder(entry) else files).add(entry.name)
    return _Listing(files.sorted(), folders.sorted(), sorted(unwritable), has_marker)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


class _Names:
    """Strings collected in chunks of Arrow memory."""

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
