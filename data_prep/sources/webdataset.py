"""WebDataset: tar files whose members with one key form a sample: 000.mp4, 000.json, 000.cls.

The key is the name up to the first dot of its last part. Videos are read from the tar by offset, and
nothing is unpacked. The label is the text of `.cls`, else the field `label` or `class` of `.json`, else
the text of `.txt`. Members that would be unpickled are refused by name; they are never read.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath

from data_prep.errors import PrepError
from data_prep.sources import folder
from data_prep.sources.item import Item
from data_prep.sources.lists import SPLIT_NAMES
from data_prep.sources.skipped import Int64Set, SkippedFiles
from worldmodel.files.json_files import parse_json
from worldmodel.storage.errors import fault_outside_file
from worldmodel.storage.tar_files import tar_members

PICKLED = ("pyd", "pickle", "pkl", "pth", "pt")
LABELS = ("cls", "json", "txt")  # in this order
MAX_LABEL_BYTES = 1 << 20
MAX_LABEL_LENGTH = 200
_SHARD = re.compile(r"(train|val|valid|validation|test)[-_.]?\d*", re.IGNORECASE)

_Member = tuple[str, int, int]  # name, offset, size
_Members = Callable[[], Iterator[_Member]]
_Read = Callable[[int, int], bytes]


def find(root: Path, skipped: SkippedFiles) -> Iterator[Item]:
    """The videos of all tars, in the order of tars and members. Raises PrepError where there is no tar.

    The split is that of a folder or shard named after one, such as `train/000.tar` or `val-000.tar`.
    """
    paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.name.lower().endswith(folder.TARS))
    if not paths:
        raise PrepError(f"{root}: no .tar file in it or below it")
    for path in paths:
        split = split_of(path.relative_to(root).parts[:-1] if path != root else (), path.stem)
        yield from items_of_tar(str(path), split, partial(tar_members, path), partial(_read, path), skipped)


def items_of_tar(path: str, split: str | None, members: _Members, read: _Read, skipped: SkippedFiles) -> Iterator[Item]:
    """The videos of one tar, a file or a URL.

    members: yields the members of the tar. read: the bytes of a member by offset and size. Raises
    StorageError for a store that does not answer.
    """
    try:
        repeated = _repeated_names(members())
        for _, sample in groupby(members(), key=lambda member: _parts(member[0])[0]):
            yield from (replace(item, split=split) for item in _sample(path, list(sample), repeated, read, skipped))
    except (OSError, tarfile.TarError) as error:
        if (outside := fault_outside_file(error)) is not None:
            raise outside from None
        yield Item(path, problem="damaged tar", detail=str(error))


def _read(path: Path, offset: int, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def _repeated_names(members: Iterator[_Member]) -> set[int]:
    """Hashes of the names that several members have. Only the last of them can be read, whose label may be another."""
    names, repeated = Int64Set(), set[int]()
    with suppress(OSError, tarfile.TarError):  # the second pass says what is damaged
        for name, _, _ in members:
            if not names.add(hash(name)):
                repeated.add(hash(name))
    return repeated


def _sample(path: str, members: list[_Member], repeated: set[int], read: _Read, skipped: SkippedFiles) -> Iterator[Item]:
    """The items of members with one key that follow one another."""
    label = _label(path, members, read, skipped)
    if label is not None and not any(name.lower().endswith(folder.VIDEOS) for name, _, _ in members):
        remark = "labels that do not lie beside their video in the tar, so they are not used"
        skipped.add_remark(remark, f"{path}::{_shown(members[0][0])}")
    for name, _, _ in members:
        suffix = _parts(name)[1]
        if suffix in PICKLED:
            detail = f".{suffix} files hold pickled objects, which can run any code when they are opened; it was not read"
            yield Item(path, _shown(name), problem="pickled member", detail=detail)
        elif not name.lower().endswith(folder.VIDEOS):
            if suffix not in LABELS:
                skipped.add_file(name)
        elif (problem := _problem(name)) is not None:
            yield Item(path, _shown(name), problem="invalid member name", detail=problem)
        elif hash(name) in repeated:
            detail = "several members of the tar have this name, and only the last one could be read; write the tar again"
            yield Item(path, _shown(name), problem="repeated member", detail=detail)
        else:
            yield Item(path, name, label)


def _label(path: str, members: list[_Member], read: _Read, skipped: SkippedFiles) -> str | None:
    """The label of a sample, None where it has none. What cannot be parsed is counted."""
    by_suffix = {_parts(name)[1]: (name, offset, size) for name, offset, size in members}
    for suffix in LABELS:
        if suffix not in by_suffix:
            continue
        name, offset, size = by_suffix[suffix]
        try:
            if size > MAX_LABEL_BYTES:
                raise ValueError(f"{size} bytes")
            text = read(offset, size).decode()
            label = _field(parse_json(text)) if suffix == "json" else text.strip()
        except ValueError as error:
            skipped.add_remark("labels that cannot be parsed", f"{path}::{_shown(name)}: {error}")
            continue
        if label and len(label) > MAX_LABEL_LENGTH:
            skipped.add_remark(f"texts of more than {MAX_LABEL_LENGTH} characters, which are no labels", f"{path}::{name}")
        elif label:
            return label
    return None


def _field(value: object) -> str | None:
    """The label in the object of a .json member. Raises ValueError for another value."""
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    found = next((value[name] for name in ("label", "class") if name in value), None)
    return None if found is None or isinstance(found, (dict, list)) else str(found)


def _parts(name: str) -> tuple[str, str]:
    """Key and suffix of a member: a/000.mp4 -> a/000, mp4; a/000.left.mp4 -> a/000, left.mp4."""
    above, slash, last = name.rpartition("/")
    stem, _, suffix = last.partition(".")
    return f"{above}{slash}{stem}", suffix.lower()


def _problem(name: str) -> str | None:
    """Why a member has no name that can be used, if so."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "it is not UTF-8"
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        return "it would leave the folder into which the tar is unpacked"
    return None


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def split_of(folders: Sequence[str], stem: str) -> str | None:
    """The split that the first folder below the root, or else the name of the tar without its suffix, stands for."""
    if folders and folders[0].lower() in SPLIT_NAMES:
        return SPLIT_NAMES[folders[0].lower()]
    found = _SHARD.fullmatch(stem)
    return SPLIT_NAMES[found[1].lower()] if found else None
