"""A list of videos in V-JEPA's form: lines `path label`, a space between, no header; quotes around a path with spaces.

A path may be relative to the list's folder. What stands before the last space is the path, so quotes are rarely needed.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.sources.item import Item
from data_prep.sources.survey import Survey


def find(root: Path, survey: Survey) -> Iterator[Item]:
    """Items in the order of the list, all of them, so the survey stays empty. Raises PrepError for a list that is not text."""
    if not root.is_file():
        raise PrepError(f"{root}: expected a text file with lines `path label`")
    folder = os.path.abspath(root.parent)
    with open(root, encoding="utf-8-sig", newline="") as lines:
        try:
            for fields in csv.reader(lines, delimiter=" "):
                while fields and not fields[-1]:
                    fields.pop()  # spaces at the end
                if fields:
                    *path, label = fields if len(fields) > 1 else [*fields, ""]
                    yield Item(os.path.join(folder, " ".join(path)), label=label or None)
        except (UnicodeDecodeError, csv.Error) as error:
            raise PrepError(f"{root}: not a list in the form `path label` ({error})") from None
