"""Decide from the names alone which images of a folder are the frames of one video.

Images follow one pattern if their names differ only in the frame number: `left_000.png` and `left_001.png` do,
`left_000.png` and `right_000.png` do not, nor do `000.jpg` and `000.png`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

# One number each: a whole name that is a time in seconds, a time in seconds since 1970 anywhere, and a time of day.
NUMBER = re.compile(r"\A\d+\.\d+\Z|\d{9,}\.\d+|(?<!\d)\d\d[-:.]\d\d[-:.]\d\d(?!\d)|\d+")
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
# Words in the names of images that are stored beside frames and are not camera images.
# fmt: off
BESIDE_FRAMES = {
    "alpha", "annotation", "annotations", "cover", "depth", "disp", "disparity", "edge", "edges", "flow", "gt",
    "heatmap", "instance", "instances", "label", "labels", "mask", "masks", "matte", "normal", "normals", "poster",
    "preview", "seg", "segm", "segmentation", "semantic", "thumb", "thumbnail", "thumbnails", "thumbs", "trimap",
}
# fmt: on
EQUALLY_LIKELY = 0.9  # a pattern with at least this fraction of the largest one's images may also be the video
MAX_NAMED = 3  # patterns that a message names


class NoSequence(Exception):  # noqa: N818  becomes a VideoError with the name of the folder
    """The names do not show which images are the video."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Pattern:
    """Images whose names differ only in the frame number."""

    name: str  # with * for the numbers that vary
    images: tuple[str, ...]  # in natural order
    numbered: bool

    @property
    def is_jpeg(self) -> bool:
        return _suffix(self.name) == ".jpg"

    @property
    def is_beside_frames(self) -> bool:
        """Whether a word in the name says that these are masks, depth, thumbnails or the like."""
        return any(word.lower() in BESIDE_FRAMES for word in WORD.findall(os.path.splitext(self.name)[0]))

    def __str__(self) -> str:
        return f"{self.name} ({len(self.images)})" if len(self.images) > 1 else self.name


@dataclass(frozen=True)
class FrameSequence:
    """The frames of a folder, and the patterns of its other images."""

    names: tuple[str, ...]
    others: tuple[Pattern, ...]

    @property
    def left_out(self) -> str:
        """One line that names the images that are not frames of the video; empty if all are frames."""
        if not self.others:
            return ""
        count = sum(len(pattern.images) for pattern in self.others)
        return f"{count} other picture{'s are' if count > 1 else ' is'} left out: {_listed(self.others)}"


def choose_sequence(names: Sequence[str]) -> FrameSequence:
    """Choose the pattern that is the video: the largest one whose name does not say mask, depth, thumbnail or the like.

    Among patterns of equal or nearly equal size, the only one in JPEG is chosen, since masks and depth are stored without
    loss. Raises NoSequence if several patterns are equally likely, or if no two images follow one pattern.
    """
    patterns = patterns_of(names)
    if len(patterns) == 1:
        return FrameSequence(patterns[0].images, ())
    sequences = [pattern for pattern in patterns if pattern.numbered and len(pattern.images) > 1]
    if not sequences:
        detail = f"its pictures ({_listed(patterns)}) are not numbered like frames of one video (frame_001.png, frame_002.png)"
        raise NoSequence("no sequence of frames", detail)
    candidates = [pattern for pattern in sequences if not pattern.is_beside_frames] or sequences
    largest = max(len(pattern.images) for pattern in candidates)
    likely = [pattern for pattern in candidates if len(pattern.images) >= EQUALLY_LIKELY * largest]
    if len(likely) > 1:
        jpegs = [pattern for pattern in likely if pattern.is_jpeg]
        likely = jpegs if len(jpegs) == 1 else likely
    if len(likely) > 1:
        detail = f"it holds {len(likely)} sequences of frames ({_listed(likely)}); put each into a folder of its own"
        raise NoSequence("several videos in one folder", detail)
    return FrameSequence(likely[0].images, tuple(pattern for pattern in patterns if pattern is not likely[0]))


def patterns_of(names: Sequence[str]) -> list[Pattern]:
    """All patterns of the image names, the largest first."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(NUMBER.sub("\0", _stem(name)) + _suffix(name), []).append(name)
    found = [pattern for family in families.values() for pattern in _split_family(sorted(family, key=_natural_key))]
    return sorted(found, key=lambda pattern: (-len(pattern.images), _natural_key(pattern.name)))


def _split_family(names: list[str]) -> list[Pattern]:
    """Patterns of names that differ only in numbers, divided by the numbers that are not frame numbers."""
    rows = [tuple(NUMBER.findall(_stem(name))) for name in names]
    dividing = _dividing_columns(rows)
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(tuple(row[column] for column in dividing), []).append(index)
    return [
        Pattern(
            _pattern_name([names[i] for i in indices], [rows[i] for i in indices]),
            tuple(names[i] for i in indices),
            bool(rows[0]),
        )
        for indices in groups.values()
    ]


def _dividing_columns(rows: list[tuple[str, ...]]) -> list[int]:
    """Positions of numbers that stand for a camera, an object or a part, not for the frame.

    The frame number is the position with the most values; of several, the last. Each frame number occurs once in a video. If
    it occurs more often, the positions with the fewest values divide the images until it does not.
    """
    counts = [len(set(column)) for column in zip(*rows, strict=True)]
    if not counts:
        return []
    frame = max(range(len(counts)), key=lambda column: (counts[column], column))
    others = sorted((c for c in range(len(counts)) if c != frame and counts[c] > 1), key=lambda c: (counts[c], c))
    dividing: list[int] = []
    while others and len({(*(row[c] for c in dividing), row[frame]) for row in rows}) < len(rows):
        dividing.append(others.pop(0))
    return dividing


def _pattern_name(names: list[str], rows: list[tuple[str, ...]]) -> str:
    """The first name with * for the numbers that vary."""
    varies = iter([len(set(column)) > 1 for column in zip(*rows, strict=True)])
    return NUMBER.sub(lambda number: "*" if next(varies) else number[0], _stem(names[0])) + _suffix(names[0])


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower().replace(".jpeg", ".jpg")


def _natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts 2 before 10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts], name


def _listed(patterns: Sequence[Pattern]) -> str:
    named = ", ".join(str(pattern) for pattern in patterns[:MAX_NAMED])
    return named + (f" and {len(patterns) - MAX_NAMED} more" if len(patterns) > MAX_NAMED else "")
