"""Journal of `index` and of `curate`: a file beside the output with one line per finished item.

The lines are in the order of the source. A run that was killed resumes by reading journal and
source in parallel, in constant memory. It resumes at the first line that does not match the source,
is of an earlier version or was cut short.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from data_prep.errors import PrepError
from worldmodel.files.json_files import parse_json
from worldmodel.files.output_errors import output_errors


class JournalItem(Protocol):
    """What identifies an item: its video, and its label."""

    @property
    def path(self) -> str: ...
    @property
    def member(self) -> str | None: ...
    @property
    def label(self) -> str | None: ...


ItemT = TypeVar("ItemT", bound=JournalItem)
Record = TypeVar("Record")
"""A dataclass with the fields of an item. Its fields are those of a line."""


class Journal(Generic[ItemT, Record]):
    """An open journal. `done` items are finished, and `items` are left."""

    def __init__(self, path: Path, settings: Mapping[str, Any], items: Iterator[ItemT], record: type[Record]) -> None:
        """Open or create the journal.

        A journal with other settings is started again. Raises OutputError.
        """
        self.path, self._record = path, record
        with output_errors(path):
            self._file: BinaryIO = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115  closed by close()
        self.done = 0
        if _value(self._file.readline()) != dict(settings):
            self._file.seek(0)
            self._write(settings)
            self.items = items
        else:
            self.items = self._match(items)
        with output_errors(path):
            self._file.truncate()

    def _match(self, items: Iterator[ItemT]) -> Iterator[ItemT]:
        """Skip the items that have a line in the journal.

        Leaves the file after the last of these lines.
        """
        for item in items:
            position = self._file.tell()
            value = _value(self._file.readline())
            if value is None or not self._is_of(item, value):
                self._file.seek(position)
                return itertools.chain([item], items)
            self.done += 1
        return iter(())

    def _is_of(self, item: ItemT, value: Mapping[str, Any]) -> bool:
        """Whether a line is of this item, and of this version of the project."""
        if (value.get("path"), value.get("member"), value.get("label")) != (item.path, item.member, item.label):
            return False
        try:
            self._record(**value)
        except (ValueError, TypeError):
            return False
        return True

    def append(self, record: Record) -> None:
        self._write(dataclasses.asdict(record))  # type: ignore[call-overload]  # a dataclass

    def _write(self, value: Mapping[str, Any]) -> None:
        line = json.dumps(dict(value), ensure_ascii=False).encode() + b"\n"
        with output_errors(self.path):
            self._file.write(line)
            self._file.flush()

    def records(self) -> Iterator[Record]:
        """All records, from the first. Raises PrepError for a damaged line."""
        with open(self.path, "rb") as lines:
            next(lines)
            for line in lines:
                try:
                    yield self._record(**parse_json(line))
                except (ValueError, TypeError) as error:
                    problem = f"a line is damaged ({error}); delete the file, and the same command inspects all videos again"
                    raise PrepError(f"{self.path}: {problem}") from None

    def close(self) -> None:
        """Raises OutputError if the last lines cannot be written."""
        with output_errors(self.path):
            self._file.close()

    def remove(self) -> None:
        self.close()
        with output_errors(self.path):
            os.unlink(self.path)


def _value(line: bytes) -> dict[str, Any] | None:
    """The JSON object in a complete line, or None."""
    if not line.endswith(b"\n"):
        return None
    try:
        value = parse_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
