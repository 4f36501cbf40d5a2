"""EPIC-KITCHENS-100: long videos, and CSV lists of the segments in which an action takes place.

Every segment becomes a clip of its video. The class is the verb and the noun, by name if
`EPIC_100_verb_classes.csv` and `EPIC_100_noun_classes.csv` lie beside the list (`take cup`), else by
number (`0 13`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.sources.item import Item, Segment
from data_prep.sources.listed_files import ListedFiles
from data_prep.sources.lists import find_lists, has_columns, read_rows
from data_prep.sources.skipped import SkippedFiles

COLUMNS = ("video_id", "start_timestamp", "stop_timestamp")
_OFFICIAL = re.compile(r"EPIC_100_(train|validation|test_timestamps)\.csv")  # others list the same segments for other tasks
_TIMESTAMP = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?)")
_SPLITS = {"train": "train", "validation": "val", "test": "test"}


def lists(root: Path) -> list[Path]:
    """The lists of a data set, and those of the names of classes."""
    found = [path for path in find_lists(root, ".csv") if root.is_file() or _OFFICIAL.fullmatch(path.name)]
    found = [path for path in found if has_columns(path, COLUMNS)]
    names = {path.with_name(f"EPIC_100_{kind}_classes.csv") for path in found for kind in ("verb", "noun")}
    return [*found, *sorted(path for path in names if path.is_file())]


def find(root: Path, skipped: SkippedFiles) -> Iterator[Item]:
    """A video per item, with its segments. Raises PrepError for a row that cannot be parsed."""
    found = [path for path in lists(root) if has_columns(path, COLUMNS)]
    if not found:
        raise PrepError(f"{root}: no list with the columns {', '.join(COLUMNS)}, such as EPIC_100_train.csv")
    segments: dict[str, list[Segment]] = {}
    first_row: dict[str, str] = {}
    for path in found:
        for where, video, segment in _segments(path):
            segments.setdefault(video, []).append(segment)
            first_row.setdefault(video, where)
    files = ListedFiles(root if root.is_dir() else root.parent, skipped)
    yield from files.problems
    for video, own in segments.items():
        item = files.item(video, first_row[video], segments=tuple(own))
        if item is not None:
            yield item
    files.report_unlisted()


def _segments(path: Path) -> Iterator[tuple[str, str, Segment]]:
    """(file and line, video, segment) of the rows of a list."""
    split = next((_SPLITS[name] for name in _SPLITS if name in path.stem.lower()), None)
    names = {kind: _names(path.with_name(f"EPIC_100_{kind}_classes.csv")) for kind in ("verb", "noun")}
    for line, row in read_rows(path, COLUMNS):
        where = f"{path}, line {line}"
        start_s, stop_s = (_seconds(row[name], name, where) for name in COLUMNS[1:])
        numbers = {kind: row.get(f"{kind}_class", "") for kind in names}
        words = [names[kind].get(number, number) for kind, number in numbers.items()]
        yield where, row["video_id"], Segment(start_s, stop_s, " ".join(words).strip() or None, split)


def _names(path: Path) -> dict[str, str]:
    """Names of classes by number; none without the file."""
    return {row["id"]: row["key"] for _, row in read_rows(path, ("id", "key"))} if path.is_file() else {}


def _seconds(text: str, name: str, where: str) -> float:
    found = _TIMESTAMP.fullmatch(text.strip())
    if found is None:
        raise PrepError(f"{where}: {name} is {text!r}; expected hours:minutes:seconds, such as 00:01:02.34")
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])
