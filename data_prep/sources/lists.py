"""Lists that data sets are published with: where they lie, their rows, and the names of their splits."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_prep.errors import PrepError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names of splits in lists and folders, and the split of a manifest that they mean."""


def find_lists(root: Path, suffix: str) -> list[Path]:
    """The files with a suffix in a folder and in its direct subfolders, sorted; or `root` itself if it is a file."""
    if root.is_file():
        return [root]
    found = [*root.glob(f"*{suffix}"), *root.glob(f"*/*{suffix}")]
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def has_columns(path: Path, columns: Iterable[str]) -> bool:
    """Whether the first line of a file names all these columns."""
    return set(columns) <= set(_header(path))


def read_rows(path: Path, columns: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV file with a header. Raises PrepError that names file and line."""
    with open(path, encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines)
        try:
            header = next(rows, [])
            if missing := [name for name in columns if name not in header]:
                raise PrepError(f"{path}, line 1: no column {', '.join(missing)}; there are {', '.join(header) or 'none'}")
            for fields in rows:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise PrepError(f"{path}, line {rows.line_num}: {len(fields)} fields; the header has {len(header)}")
                yield rows.line_num, dict(zip(header, fields, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise PrepError(f"{path}, after line {rows.line_num}: not a CSV file ({error})") from None


def split_named(name: str, where: str) -> str | None:
    """The split of a manifest that a list means; None for an empty name. Raises PrepError for another name."""
    if not name.strip():
        return None
    try:
        return SPLIT_NAMES[name.strip().lower()]
    except KeyError:
        raise PrepError(f"{where}: split is {name!r}; expected one of {', '.join(SPLIT_NAMES)}") from None


def _header(path: Path) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as lines:
            return next(csv.reader([lines.readline(1 << 16)]), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
