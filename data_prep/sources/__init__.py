"""Native layouts of data sets, one small file each. A new one is a function (root, survey -> Items) and a line in SOURCES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from data_prep.sources import classes, csv_list, folder
from data_prep.sources.item import Item
from data_prep.sources.survey import Survey

SOURCES: dict[str, Callable[[Path, Survey], Iterator[Item]]] = {
    "folder": folder.find,  # every video below a folder
    "classes": classes.find,  # the same; the first folder below the root is the label
    "csv": csv_list.find,  # a text file with lines `path label`, as V-JEPA reads
}

__all__ = ["SOURCES", "Item", "Survey"]
