"""What a source did not take for videos, counted while it looks, so that nothing is left out in silence."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MOST_NAMED = 8


@dataclass
class Survey:
    """Counts of what was left out. A source fills it while it is iterated over."""

    leave_out_made: bool = True  # folders that this project filled
    others: Counter[str] = field(default_factory=Counter)  # files that were not looked at, by suffix
    made: dict[str, tuple[str, int]] = field(default_factory=dict)  # folder -> the command that filled it, its videos
    repeats: int = 0  # links to files and folders that were found already

    def pass_over(self, name: str) -> None:
        """Count a file that is not looked at."""
        self.others[os.path.splitext(name)[1].lower()] += 1

    def lines(self, root: Path) -> list[str]:
        """What was left out, in words."""
        return [*self._words_on_others(), *self._words_on_made(root), *self._words_on_repeats()]

    def _words_on_others(self) -> list[str]:
        if not self.others:
            return []
        ranked = sorted(self.others.items(), key=lambda kind: (-kind[1], kind[0]))
        named = [f"{count} {suffix or 'without a suffix'}" for suffix, count in ranked[:MOST_NAMED]]
        if len(ranked) > MOST_NAMED:
            named.append(f"{sum(count for _, count in ranked[MOST_NAMED:])} of other types")
        return [f"not looked at: {', '.join(named)}"]

    def _words_on_made(self, root: Path) -> list[str]:
        if not self.made:
            return []
        told = [
            f"{os.path.relpath(folder, root)} ({videos} files, made by {command})"
            for folder, (command, videos) in list(self.made.items())[:MOST_NAMED]
        ]
        if len(self.made) > MOST_NAMED:
            told.append(f"{len(self.made) - MOST_NAMED} more folders")
        return [f"left out, because this project made them: {', '.join(told)}; to index such a folder, name it as DIR"]

    def _words_on_repeats(self) -> list[str]:
        links = "link leads" if self.repeats == 1 else "links lead"
        return [f"{self.repeats} {links} to what was found already"] if self.repeats else []


class Seen:
    """A set of 64-bit numbers that only grows: 8 bytes each, where a million Python integers are 80 MB."""

    def __init__(self) -> None:
        self._sorted = np.zeros(0, np.int64)
        self._fresh: set[int] = set()

    def add(self, number: int) -> bool:
        """Whether the number is new to the set."""
        place = int(np.searchsorted(self._sorted, number))
        if number in self._fresh or (place < len(self._sorted) and self._sorted[place] == number):
            return False
        self._fresh.add(number)
        if len(self._fresh) == 10_000:
            self._sorted = np.sort(np.concatenate([self._sorted, np.fromiter(self._fresh, np.int64)]))
            self._fresh.clear()
        return True
