"""Find the pairs among four videos by their common first frames.

The videos of an IntPhys pair are equal until the event, and the order of the four is shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from worldmodel.video.frame_folder.frames import frame_names, open_frame

MATCHINGS = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))


def match_by_prefix(folders: Sequence[Path]) -> tuple[tuple[tuple[int, int], tuple[int, int]], dict[tuple[int, int], int]]:
    """Match four folders of frames into the two pairs with the longest common beginnings.

    Returns the pairs, and the number of common first frames of any two folders.

    Raises ValueError if two matchings are equally good or a pair has no common frame, VideoError
    for frames that cannot be read.
    """
    shared = {two: shared_prefix(folders[two[0]], folders[two[1]]) for two in combinations(range(4), 2)}
    *_, second, best = sorted(MATCHINGS, key=lambda matching: _shared_frames(matching, shared))
    if _shared_frames(best, shared) == _shared_frames(second, shared):
        raise ValueError("its videos can be paired in several ways with equally long common beginnings")
    if not all(shared[pair] for pair in best):
        raise ValueError("the first frame of a video is equal to that of no other video")
    return best, shared


def _shared_frames(matching: Sequence[tuple[int, int]], shared: dict[tuple[int, int], int]) -> int:
    return sum(shared[pair] for pair in matching)


def shared_prefix(first: Path, second: Path) -> int:
    """Number of frames at the start of two folders that are equal in every pixel."""
    names = list(zip(frame_names(first), frame_names(second), strict=False))
    for count, (one, other) in enumerate(names):
        if not _same(first / one, second / other):
            return count
    return len(names)


def _same(one: Path, other: Path) -> bool:
    """Whether two pictures are equal.

    Equal files are; others are decoded, since two encoders may have written them.
    """
    if one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes():
        return True
    return np.array_equal(open_frame(one), open_frame(other))
