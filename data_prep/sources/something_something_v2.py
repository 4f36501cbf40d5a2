"""Something-Something v2: ID.webm files, and JSON lists of them.

Lists are named `train.json`, `validation.json`, `test.json` and `labels.json`, possibly with a prefix as
in `something-something-v2-train.json`. An object of a list has `id`, and where the class is known,
`template`: the class is the template without its brackets. `labels.json` has all classes as keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.errors import PrepError
from data_prep.sources.item import Item
from data_prep.sources.listed_files import ListedFiles
from data_prep.sources.lists import SPLIT_NAMES, find_lists
from data_prep.sources.skipped import SkippedFiles
from worldmodel.files.json_files import read_json

_LIST = re.compile(r"(?:.*[-_.])?(train|validation|val|test|labels)", re.IGNORECASE)
_ID = re.compile(r"[\w-]+")


def lists(root: Path) -> list[Path]:
    """The lists of a data set: those of the splits, and that of the classes."""
    return [path for path in find_lists(root, ".json") if root.is_file() or _LIST.fullmatch(path.stem)]


def find(root: Path, skipped: SkippedFiles) -> Iterator[Item]:
    """The items in the order of the lists: train, validation, test.

    Raises PrepError for a list that cannot be parsed, with the number of the item.
    """
    found = lists(root)
    by_kind = {_kind(path): path for path in reversed(found)}  # of two lists of one kind, the first one
    splits = [path for kind, path in sorted(by_kind.items(), key=lambda pair: _ORDER.get(pair[0], 3)) if kind != "labels"]
    if not splits:
        raise PrepError(f"{root}: no train.json, validation.json or test.json in it or in one of its folders")
    classes = _classes(by_kind["labels"]) if "labels" in by_kind else None
    files = ListedFiles(root if root.is_dir() else root.parent, skipped)
    yield from files.problems
    for path in splits:
        split = SPLIT_NAMES.get(_kind(path))
        for number, entry in enumerate(_entries(path), start=1):
            where = f"{path}, item {number}"
            stem, label = _parse(entry, where)
            if label is not None and classes is not None and label not in classes:
                skipped.add_remark("templates that the list of classes does not have", f"{where}: {label}")
            item = files.item(stem, where, label=label, split=split)
            if item is not None:
                yield item
    files.report_unlisted()


_ORDER = {"train": 0, "validation": 1, "val": 1, "test": 2}


def _kind(path: Path) -> str:
    found = _LIST.fullmatch(path.stem)
    return found[1].lower() if found else path.stem


def _classes(path: Path) -> set[str]:
    found = read_json(path, PrepError)
    if not isinstance(found, dict):
        raise PrepError(f"{path}: expected an object with the names of classes as keys")
    return set(found)


def _entries(path: Path) -> list[Any]:
    found = read_json(path, PrepError)
    if not isinstance(found, list):
        raise PrepError(f"{path}: expected a list of objects with `id` and `template`")
    return found


def _parse(entry: Any, where: str) -> tuple[str, str | None]:
    """Id and class of an object. Raises PrepError."""
    if not isinstance(entry, dict) or not _ID.fullmatch(str(entry.get("id", ""))):
        raise PrepError(f"{where}: {str(entry)[:80]}; expected an object with `id`, such as 78687")
    template = entry.get("template")
    if template is not None and not isinstance(template, str):
        raise PrepError(f"{where}: template is {str(template)[:80]}; expected a text")
    return str(entry["id"]), None if not template else template.replace("[", "").replace("]", "")
