"""Layouts of data sets, one small file each.

A new one is a function `find(root, skipped)` that yields Items, and a line in SOURCES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from data_prep.sources import classes, csv_list, folder
from data_prep.sources.item import Item
from data_prep.sources.skipped import SkippedFiles

SOURCES: dict[str, Callable[[Path, SkippedFiles], Iterator[Item]]] = {
    "folder": folder.find,  # every video below a folder
    "classes": classes.find,  # the same; the first folder below the root is the label
    "csv": csv_list.find,  # a text file with lines `path label`, as for V-JEPA
}

__all__ = ["SOURCES", "Item", "SkippedFiles"]
