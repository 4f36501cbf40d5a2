"""The indexer's memory beside its output: one line a finished item, in the order of the source.

Because the order is the source's, a run that was killed goes on by walking journal and source side by side: nothing is
held in memory, and the first line that does not fit, or was cut short, is where work begins again.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from data_prep.errors import PrepError
from data_prep.inspection import Record
from data_prep.sources.item import Item
from worldmodel.files.json_files import parsed
from worldmodel.files.output_errors import output_errors


class Journal:
    """An open journal: `done` lines of it stand, `items` are left to do."""

    def __init__(self, path: Path, settings: Mapping[str, Any], items: Iterator[Item]) -> None:
        """Opens or begins the journal. Another run's journal (other settings) is begun anew. Raises OutputError."""
        self.path = path
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

    def _match(self, items: Iterator[Item]) -> Iterator[Item]:
        """Step over the lines that are the work on these items; leaves the file at the end of the last one."""
        for item in items:
            at = self._file.tell()
            value = _value(self._file.readline())
            if value is None or (value.get("path"), value.get("member"), value.get("label")) != (
                item.path,
                item.member,
                item.label,
            ):
                self._file.seek(at)
                return itertools.chain([item], items)
            self.done += 1
        return iter(())

    def add(self, record: Record) -> None:
        self._write(dataclasses.asdict(record))

    def _write(self, value: Mapping[str, Any]) -> None:
        line = json.dumps(dict(value), ensure_ascii=False).encode() + b"\n"
        with output_errors(self.path):
            self._file.write(line)
            self._file.flush()

    def records(self) -> Iterator[Record]:
        """All records, from the first."""
        with open(self.path, "rb") as lines:
            next(lines)
            for line in lines:
                try:
                    yield Record(**parsed(line))
                except (ValueError, TypeError) as error:
                    problem = f"a line of it is damaged ({error}); delete it, and the same command again looks at all videos"
                    raise PrepError(f"{self.path}: {problem}") from None

    def close(self) -> None:
        """Raises OutputError where the last lines cannot be written."""
        with output_errors(self.path):
            self._file.close()

    def remove(self) -> None:
        self.close()
        with output_errors(self.path):
            os.unlink(self.path)


def _value(line: bytes) -> dict[str, Any] | None:
    """The object in a whole line; None for a line cut short."""
    if not line.endswith(b"\n"):
        return None
    try:
        value = parsed(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
