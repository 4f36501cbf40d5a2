"""Kinetics: files named ID_000012_000022.mp4, and CSV lists with their classes and splits.

A list has the columns `youtube_id`, `time_start` and `time_end`, and usually `label` and `split`. Files
may lie in any folders. Without a list, folders give the split and the class: `train/abseiling/ID_*.mp4`,
or `abseiling/ID_*.mp4`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.sources import folder
from data_prep.sources.item import Item
from data_prep.sources.listed_files import ListedFiles
from data_prep.sources.lists import SPLIT_NAMES, find_lists, has_columns, read_rows, split_named
from data_prep.sources.skipped import SkippedFiles

COLUMNS = ("youtube_id", "time_start", "time_end")


def lists(root: Path) -> list[Path]:
    """The lists of a data set."""
    return [path for path in find_lists(root, ".csv") if has_columns(path, COLUMNS)]


def find(root: Path, skipped: SkippedFiles) -> Iterator[Item]:
    """The items in the order of the lists, or, without lists, sorted folder by folder.

    Raises PrepError for a row that cannot be parsed.
    """
    found = lists(root)
    if not found:
        if root.is_file():
            raise PrepError(f"{root}, line 1: expected a header with the columns {', '.join(COLUMNS)}")
        yield from _by_folders(root, skipped)
        return
    files = ListedFiles(root if root.is_dir() else root.parent, skipped)
    yield from files.problems
    for path in found:
        for line, row in read_rows(path, COLUMNS):
            where = f"{path}, line {line}"
            span = "_".join(f"{_whole_seconds(row[name], name, where):06d}" for name in COLUMNS[1:])
            split = split_named(row["split"], where) if "split" in row else SPLIT_NAMES.get(path.stem.lower())
            item = files.item(f"{row['youtube_id']}_{span}", where, label=row.get("label") or None, split=split)
            if item is not None:
                yield item
    files.report_unlisted()


def _whole_seconds(text: str, name: str, where: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e6:
        raise PrepError(f"{where}: {name} is {text!r}; expected seconds, such as 12")
    return int(value)


def _by_folders(root: Path, skipped: SkippedFiles) -> Iterator[Item]:
    for item in folder.find(root, skipped):
        folders = Path(item.path).relative_to(root).parts[:-1]
        split = SPLIT_NAMES.get(folders[0].lower()) if folders else None
        classes = folders[1:] if split is not None else folders
        if not classes:
            skipped.add_remark("videos without a class: no list names them, and they are in no class folder", item.name)
        yield replace(item, label=classes[0] if classes else None, split=split)
