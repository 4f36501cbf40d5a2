"""Counts of the files that a source skips, so that a command can report them."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MAX_LISTED = 8


@dataclass
class SkippedFiles:
    """What was skipped. A source fills it while it is iterated over."""

    skip_own_outputs: bool = True  # skip folders that commands of this project wrote
    by_suffix: Counter[str] = field(default_factory=Counter)  # files of other types
    own_outputs: dict[str, tuple[str, int]] = field(default_factory=dict)  # folder -> command that wrote it, number of files
    repeats: int = 0  # links to files and folders that were already found
    remarks: dict[str, tuple[int, str]] = field(default_factory=dict)  # what lists and files disagree on -> count, first one

    def add_file(self, name: str) -> None:
        """Count a file of another type."""
        self.by_suffix[os.path.splitext(name)[1].lower()] += 1

    def add_remark(self, what: str, example: str) -> None:
        """Count something that the user should know of. `what` is a noun in the plural."""
        count, first = self.remarks.get(what, (0, example))
        self.remarks[what] = count + 1, first

    def lines(self, root: Path | str) -> list[str]:
        """Sentences on what was skipped."""
        remarks = [f"{what}: {count} (first: {first})" for what, (count, first) in self.remarks.items()]
        return [*self._suffix_lines(), *self._output_lines(root), *self._repeat_lines(), *remarks]

    def _suffix_lines(self) -> list[str]:
        if not self.by_suffix:
            return []
        ranked = sorted(self.by_suffix.items(), key=lambda pair: (-pair[1], pair[0]))
        named = [f"{count} {suffix or 'without a suffix'}" for suffix, count in ranked[:MAX_LISTED]]
        if len(ranked) > MAX_LISTED:
            named.append(f"{sum(count for _, count in ranked[MAX_LISTED:])} of other types")
        return [f"skipped: {', '.join(named)}"]

    def _output_lines(self, root: Path | str) -> list[str]:
        if not self.own_outputs:
            return []
        listed = [
            f"{os.path.relpath(folder, root)} ({videos} files, written by {command})"
            for folder, (command, videos) in list(self.own_outputs.items())[:MAX_LISTED]
        ]
        if len(self.own_outputs) > MAX_LISTED:
            listed.append(f"{len(self.own_outputs) - MAX_LISTED} more folders")
        return [f"skipped because this project wrote them: {', '.join(listed)}; to index such a folder, give it as DIR"]

    def _repeat_lines(self) -> list[str]:
        links = "link leads" if self.repeats == 1 else "links lead"
        return [f"{self.repeats} {links} to files or folders that were already found"] if self.repeats else []


class Int64Set:
    """A set of 64-bit integers in 8 bytes each.

    As Python integers a million of them would take 80 MB.
    """

    def __init__(self) -> None:
        self._sorted = np.zeros(0, np.int64)
        self._fresh: set[int] = set()

    def add(self, number: int) -> bool:
        """Add a number. Returns whether it is new."""
        index = int(np.searchsorted(self._sorted, number))
        if number in self._fresh or (index < len(self._sorted) and self._sorted[index] == number):
            return False
        self._fresh.add(number)
        if len(self._fresh) == 10_000:
            self._sorted = np.sort(np.concatenate([self._sorted, np.fromiter(self._fresh, np.int64)]))
            self._fresh.clear()
        return True
