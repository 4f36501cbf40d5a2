"""A list of videos in the format of V-JEPA: lines `path label` without a header.

A path may be relative to the folder of the list. Everything before the last space is the path, so a
path with spaces needs no quotes.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.sources.item import Item
from data_prep.sources.skipped import SkippedFiles


def find(root: Path, skipped: SkippedFiles) -> Iterator[Item]:
    """All items in the order of the list.

    Nothing is skipped. Raises PrepError for a list that is not text.
    """
    if not root.is_file():
        raise PrepError(f"{root}: expected a text file with lines `path label`")
    folder = os.path.abspath(root.parent)
    with open(root, encoding="utf-8-sig", newline="") as lines:
        try:
            for fields in csv.reader(lines, delimiter=" "):
                while fields and not fields[-1]:
                    fields.pop()  # from spaces at the end of the line
                if fields:
                    *path, label = fields if len(fields) > 1 else [*fields, ""]
                    yield Item(os.path.join(folder, " ".join(path)), label=label or None)
        except (UnicodeDecodeError, csv.Error) as error:
            raise PrepError(f"{root}: not a list with lines `path label` ({error})") from None
