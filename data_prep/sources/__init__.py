"""Layouts of data sets, one small file each.

A new one is a function `find(root, skipped)` that yields Items, and a line in SOURCES. If labels or
splits come from lists, a function `lists(root)` in LISTS says from which files. Layouts that can also
lie at a URL are in OBJECT_SOURCES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from data_prep.sources import classes, csv_list, epic_kitchens, folder, kinetics, something_something_v2, webdataset
from data_prep.sources.item import Item, Segment
from data_prep.sources.object_folder import OBJECT_SOURCES
from data_prep.sources.skipped import SkippedFiles

SOURCES: dict[str, Callable[[Path, SkippedFiles], Iterator[Item]]] = {
    "folder": folder.find,  # every video below a folder
    "classes": classes.find,  # the same; the first folder below the root is the label
    "csv": csv_list.find,  # a text file with lines `path label`, as for V-JEPA, VideoMAE and SlowFast
    "something_something_v2": something_something_v2.find,
    "kinetics": kinetics.find,
    "epic_kitchens": epic_kitchens.find,
    "webdataset": webdataset.find,
}
LISTS: dict[str, Callable[[Path], list[Path]]] = {
    "csv": csv_list.lists,
    "something_something_v2": something_something_v2.lists,
    "kinetics": kinetics.lists,
    "epic_kitchens": epic_kitchens.lists,
}
WHOLE_FOLDERS = ("folder", "classes")
"""Layouts that a list or a single tar cannot have."""


def find_items(source: str, root: Path | str, skipped: SkippedFiles) -> Iterator[Item]:
    """The items of a data set, below a folder or below a URL (a text), in a fixed order."""
    return OBJECT_SOURCES[source](root, skipped) if isinstance(root, str) else SOURCES[source](root, skipped)


__all__ = ["LISTS", "OBJECT_SOURCES", "SOURCES", "WHOLE_FOLDERS", "Item", "Segment", "SkippedFiles", "find_items"]
