"""Lists of videos in the format of V-JEPA, VideoMAE and SlowFast: lines `path label` without a header.

A path may be relative to the folder of the list, or a URL. Everything before the last space is the path, so a
path with spaces needs no quotes. Of a folder, the lists `train.csv`, `val.csv` and `test.csv` are read,
and give the splits.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.sources.item import Item
from data_prep.sources.skipped import SkippedFiles
from worldmodel.storage.urls import UrlError, is_url, split_url

SPLITS = ("train", "val", "test")


def lists(root: Path) -> list[Path]:
    """The lists in a folder; none for a list itself, whose items have no split."""
    return [path for split in SPLITS if (path := root / f"{split}.csv").is_file()]


def find(root: Path, skipped: SkippedFiles) -> Iterator[Item]:
    """All items in the order of the list, or of the lists in a folder.

    Nothing is skipped. Raises PrepError for a list that is not text, and for a URL with a secret, which it does not repeat.
    """
    if root.is_file():
        yield from _of_list(root)
        return
    found = lists(root)
    if not found:
        raise PrepError(f"{root}: expected a text file with lines `path label`, or a folder with train.csv and val.csv")
    for path in found:
        yield from (replace(item, split=path.stem) for item in _of_list(path))


def _of_list(path: Path) -> Iterator[Item]:
    folder = os.path.abspath(path.parent)
    with open(path, encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, delimiter=" ")
        try:
            for fields in rows:
                while fields and not fields[-1]:
                    fields.pop()  # from spaces at the end of the line
                if fields:
                    *names, label = fields if len(fields) > 1 else [*fields, ""]
                    name = " ".join(names)
                    if is_url(name):
                        split_url(name)
                    yield Item(name if is_url(name) else os.path.join(folder, name), label=label or None)
        except UrlError as error:
            raise PrepError(f"{path}, line {rows.line_num}: {error}") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise PrepError(f"{path}, after line {rows.line_num}: not a list with lines `path label` ({error})") from None
