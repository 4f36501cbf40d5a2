"""Which layout a data set has, where its files leave no doubt."""

from __future__ import annotations

from pathlib import Path

from data_prep.sources import epic_kitchens, folder, kinetics, lists


def layout_of(root: Path) -> str:
    """The layout of a folder or of a list.

    A list is recognised by its header or suffix. A folder is always "folder", so that new files in it
    change neither splits nor labels; see `suggestion`.
    """
    if not root.is_file():
        return "folder"
    if root.name.lower().endswith(folder.TARS):
        return "webdataset"
    if root.suffix.lower() == ".json":
        return "something_something_v2"
    if lists.has_columns(root, kinetics.COLUMNS):
        return "kinetics"
    return "epic_kitchens" if lists.has_columns(root, epic_kitchens.COLUMNS) else "csv"


def suggestion(root: Path) -> str | None:
    """A sentence on a layout that the lists in a folder suggest, or None."""
    if not root.is_dir():
        return None
    for name, found in (("kinetics", kinetics.lists(root)), ("epic_kitchens", epic_kitchens.lists(root))):
        if found:
            return f"{found[0].name} looks like a list of this data set; --source {name} takes labels and splits from it"
    return None
