"""Which pictures of a folder are the frames of one video, told by their names alone.

Pictures are of one pattern when their names differ in nothing but the frame number: `left_000.png` and `left_001.png` are,
`left_000.png` and `right_000.png` are not, nor are `000.jpg` and `000.png`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

# A whole name that is a time in seconds, such a time since 1970 anywhere, and a time of day are one number each.
NUMBER = re.compile(r"\A\d+\.\d+\Z|\d{9,}\.\d+|(?<!\d)\d\d[-:.]\d\d[-:.]\d\d(?!\d)|\d+")
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
# Words in the names of pictures that stand beside frames and are not what a camera saw.
# fmt: off
BESIDE_FRAMES = {
    "alpha", "annotation", "annotations", "cover", "depth", "disp", "disparity", "edge", "edges", "flow", "gt",
    "heatmap", "instance", "instances", "label", "labels", "mask", "masks", "matte", "normal", "normals", "poster",
    "preview", "seg", "segm", "segmentation", "semantic", "thumb", "thumbnail", "thumbnails", "thumbs", "trimap",
}
# fmt: on
EQUALLY_LIKELY = 0.9  # a pattern with so many of the largest one's pictures may be the video as well
MOST_NAMED = 3  # patterns that a message names


class NoSequence(Exception):  # noqa: N818  becomes a VideoError where the folder is known
    """The names do not tell which pictures are the video."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Pattern:
    """Pictures whose names differ in the frame number alone."""

    name: str  # with * for what varies
    pictures: tuple[str, ...]  # in natural order
    numbered: bool

    @property
    def is_jpeg(self) -> bool:
        return _suffix(self.name) == ".jpg"

    @property
    def is_beside_frames(self) -> bool:
        """Whether a word in the name says that these are masks, depth, thumbnails or the like."""
        return any(word.lower() in BESIDE_FRAMES for word in WORD.findall(os.path.splitext(self.name)[0]))

    def __str__(self) -> str:
        return f"{self.name} ({len(self.pictures)})" if len(self.pictures) > 1 else self.name


@dataclass(frozen=True)
class Frames:
    """The frames of a folder, and what else is in it."""

    names: tuple[str, ...]
    others: tuple[Pattern, ...]

    @property
    def left_out(self) -> str:
        """In one line which pictures are no frames of the video; empty where all are."""
        if not self.others:
            return ""
        count = sum(len(pattern.pictures) for pattern in self.others)
        return f"{count} other picture{'s are' if count > 1 else ' is'} left out: {_listed(self.others)}"


def choose(pictures: Sequence[str]) -> Frames:
    """The pattern that is the video: the largest whose name does not say mask, depth, thumbnail or the like.

    Of patterns that are equally large, or nearly so, the only one in JPEG is taken: masks and depth are stored without loss.
    Raises NoSequence where several are equally likely, and where no two pictures are of one pattern.
    """
    patterns = patterns_of(pictures)
    if len(patterns) == 1:
        return Frames(patterns[0].pictures, ())
    sequences = [pattern for pattern in patterns if pattern.numbered and len(pattern.pictures) > 1]
    if not sequences:
        detail = f"its pictures ({_listed(patterns)}) are not numbered like frames of one video (frame_001.png, frame_002.png)"
        raise NoSequence("no sequence of frames", detail)
    candidates = [pattern for pattern in sequences if not pattern.is_beside_frames] or sequences
    most = max(len(pattern.pictures) for pattern in candidates)
    rivals = [pattern for pattern in candidates if len(pattern.pictures) >= EQUALLY_LIKELY * most]
    if len(rivals) > 1:
        jpegs = [pattern for pattern in rivals if pattern.is_jpeg]
        rivals = jpegs if len(jpegs) == 1 else rivals
    if len(rivals) > 1:
        detail = f"it holds {len(rivals)} sequences of frames ({_listed(rivals)}); put each into a folder of its own"
        raise NoSequence("several videos in one folder", detail)
    return Frames(rivals[0].pictures, tuple(pattern for pattern in patterns if pattern is not rivals[0]))


def patterns_of(pictures: Sequence[str]) -> list[Pattern]:
    """All patterns, the largest first."""
    families: dict[str, list[str]] = {}
    for name in pictures:
        families.setdefault(NUMBER.sub("\0", _stem(name)) + _suffix(name), []).append(name)
    found = [pattern for names in families.values() for pattern in _family(sorted(names, key=_natural))]
    return sorted(found, key=lambda pattern: (-len(pattern.pictures), _natural(pattern.name)))


def _family(names: list[str]) -> list[Pattern]:
    """Names that differ in numbers alone, divided where another number than the frame's tells pictures apart."""
    rows = [tuple(NUMBER.findall(_stem(name))) for name in names]
    constant_in = _columns_that_divide(rows)
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(tuple(row[column] for column in constant_in), []).append(place)
    return [
        Pattern(
            _pattern_name([names[place] for place in places], [rows[place] for place in places]),
            tuple(names[place] for place in places),
            bool(rows[0]),
        )
        for places in groups.values()
    ]


def _columns_that_divide(rows: list[tuple[str, ...]]) -> list[int]:
    """Positions of numbers that stand for a camera, an object or a part, not for the frame.

    The frame number is the position with the most values, the last of equals. It occurs once in a video: where it occurs more
    often, the positions with the fewest values divide the pictures until it does not.
    """
    counts = [len(set(column)) for column in zip(*rows, strict=True)]
    if not counts:
        return []
    frame = max(range(len(counts)), key=lambda column: (counts[column], column))
    others = sorted((c for c in range(len(counts)) if c != frame and counts[c] > 1), key=lambda c: (counts[c], c))
    divide: list[int] = []
    while others and len({(*(row[c] for c in divide), row[frame]) for row in rows}) < len(rows):
        divide.append(others.pop(0))
    return divide


def _pattern_name(names: list[str], rows: list[tuple[str, ...]]) -> str:
    """The first name with * for the numbers that vary."""
    varies = iter([len(set(column)) > 1 for column in zip(*rows, strict=True)])
    return NUMBER.sub(lambda number: "*" if next(varies) else number[0], _stem(names[0])) + _suffix(names[0])


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower().replace(".jpeg", ".jpg")


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts 2 before 10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts], name


def _listed(patterns: Sequence[Pattern]) -> str:
    named = ", ".join(str(pattern) for pattern in patterns[:MOST_NAMED])
    return named + (f" and {len(patterns) - MOST_NAMED} more" if len(patterns) > MOST_NAMED else "")
