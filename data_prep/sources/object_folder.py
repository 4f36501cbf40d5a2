"""Videos below a folder in object storage: objects, and members of tars.

The URLs of items name the version of their object, so an object that is replaced later is never read for
the one that was inspected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import PurePosixPath

from data_prep.errors import PrepError
from data_prep.sources import folder, webdataset
from data_prep.sources.item import Item
from data_prep.sources.skipped import SkippedFiles
from worldmodel.files.json_files import parse_json
from worldmodel.files.output_mark import MARK_FILE, TRANSCODE_KEYS
from worldmodel.storage.objects import members_at, open_object
from worldmodel.storage.transfer import list_versions, read_whole
from worldmodel.storage.urls import UrlError, parent_url, split_url, with_version
from worldmodel.video.frame_folder.frames import SUFFIXES as FRAMES

_MARKS = (MARK_FILE, "output.json", "shards.json", "upload.json")
"""Objects that commands of this project write beside their outputs. They name the command as `made_by`."""


def find(root: str, skipped: SkippedFiles) -> Iterator[Item]:
    """Items below a URL, in the order of `folder.find` for the same files on a disk. Other objects are counted in `skipped`.

    Folders that commands of this project wrote are skipped, except `root` itself. Raises StorageError.
    """
    listing = _list(root, skipped)
    for below, names in groupby(listing.names, key=_folder_of):
        yield from _items_in(listing, below, list(names), skipped)


def find_classes(root: str, skipped: SkippedFiles) -> Iterator[Item]:
    """The same; the first folder below the root is the label."""
    for item in find(root, skipped):
        first, slash, _ = item.path.removeprefix(f"{root}/").partition("/")
        yield replace(item, label=first if slash else None)


def find_webdataset(root: str, skipped: SkippedFiles) -> Iterator[Item]:
    """The videos of all tars below a URL, with the labels of their samples; see `webdataset`."""
    listing = _list(root, skipped)
    tars = [name for name in listing.names if name.lower().endswith(folder.TARS)]
    if not tars:
        raise PrepError(f"{root}: no .tar object below it")
    for name in tars:
        url, path = listing.url(name), PurePosixPath(name)
        split = webdataset.split_of(path.parts[:-1], path.stem)

        yield from webdataset.items_of_tar(url, split, partial(members_at, url), partial(_read, url), skipped)


def _read(url: str, offset: int, size: int) -> bytes:
    with closing(open_object(url, None)) as file:
        return file.read_at(offset, offset + size) if size else b""


OBJECT_SOURCES: dict[str, Callable[[str, SkippedFiles], Iterator[Item]]] = {
    "folder": find,
    "classes": find_classes,
    "webdataset": find_webdataset,
}
"""Layouts of data sets that can lie at a URL."""


@dataclass(frozen=True)
class _Listing:
    """The objects below a URL: `names` are those that are used, relative to the URL and sorted folder by folder."""

    root: str
    names: list[str]
    etags: Mapping[str, str | None]

    def url(self, name: str) -> str:
        return with_version(f"{self.root}/{name}", self.etags[name])


def _list(root: str, skipped: SkippedFiles) -> _Listing:
    etags = {name: etag for name, (_, etag) in list_versions(root).items()}
    outputs = _own_outputs(root, etags) if skipped.skip_own_outputs else {}
    names = []
    for name in etags:
        parts = name.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))] if outputs else []
        if (output := next((place for place in above if place in outputs), None)) is not None:
            if name.lower().endswith(folder.VIDEOS + FRAMES):
                command, count = skipped.own_outputs.get(f"{root}/{output}", (outputs[output], 0))
                skipped.own_outputs[f"{root}/{output}"] = command, count + 1
        elif not any(part.startswith(".") for part in parts):
            names.append(name)
    return _Listing(root, sorted(names, key=_place), etags)


def _own_outputs(root: str, names: Mapping[str, object]) -> dict[str, str]:
    """Folders below the root that commands of this project wrote, with the command."""
    found = {}
    for name in names:
        below, _, file = name.rpartition("/")
        if file in _MARKS and below and (command := _made_by(_object_at(f"{root}/{name}"))) is not None:
            found[below] = command
    return found


def own_output_at(url: str) -> tuple[str, str] | None:
    """(folder, command) where a command of this project wrote this folder, or one that it lies in. Raises StorageError."""
    while split_url(url)[1]:
        for name in (*_MARKS, "transcode.json"):
            found = _object_at(f"{url}/{name}")
            if (command := _made_by(found)) is not None:
                return url, command
            if name == "transcode.json" and found.keys() >= TRANSCODE_KEYS:
                return url, "data_prep transcode"
        url = parent_url(url)
    return None


def _made_by(mark: Mapping[str, object]) -> str | None:
    return str(mark["made_by"]) if "made_by" in mark else None


def _object_at(url: str) -> Mapping[str, object]:
    """The JSON object at a URL; an empty one where there is none, or a file of another program."""
    content = read_whole(url)
    try:
        found = parse_json((b"{}" if content is None else content[0]).decode())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _place(name: str) -> tuple[tuple[bool, str], ...]:
    """Sort key: the files of a folder, then its subfolders."""
    *above, file = name.split("/")
    return (*((True, part) for part in above), (False, file))


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def _items_in(listing: _Listing, below: str, names: list[str], skipped: SkippedFiles) -> Iterator[Item]:
    """The items of one folder, without those of its subfolders."""
    images: Counter[str] = Counter()
    has_videos = False
    for name in names:
        lower, url = name.lower(), listing.url(name)
        if lower.endswith(FRAMES):
            images[PurePosixPath(lower).suffix] += 1
        elif not lower.endswith(folder.VIDEOS + folder.TARS + folder.COMPRESSED_TARS):
            skipped.add_file(lower)
        else:
            has_videos = True
            yield from _items_of(url, lower, skipped)
    if has_videos:  # images beside videos are taken for thumbnails
        skipped.by_suffix.update(images)
    elif images:
        detail = "frames are read from folders of this machine; make a video of them first: `python -m data_prep transcode`"
        yield Item(f"{listing.root}/{below}".rstrip("/"), problem="folder of frames", detail=detail)


def _items_of(url: str, lower: str, skipped: SkippedFiles) -> Iterator[Item]:
    """The items of an object: a video, the videos in a tar, or an item with a problem."""
    if (problem := _problem(url)) is not None:
        yield Item(url, problem="invalid object name", detail=problem)
    elif lower.endswith(folder.VIDEOS):
        yield Item(url)
    elif lower.endswith(folder.COMPRESSED_TARS):
        yield Item(url, problem="compressed tar", detail=folder.COMPRESSED)
    else:
        yield from folder.items_of_tar(url, members_at(url), skipped)


def _problem(url: str) -> str | None:
    """Why an object cannot be named in a manifest, if so."""
    try:
        split_url(url)
    except UrlError as error:
        return str(error)
    return None
