"""The four kinds of splice: from frames of one shot to the parts of a quadruplet.

A quadruplet has two contexts a, b and two outcomes u, v. The videos a-u and b-v are possible, a-v and
b-u are impossible. So every frame, and every outcome as a whole, occurs in one possible and in one
impossible video, and a scorer that looks at single frames, at contexts alone or at outcomes alone is
at 50 % by construction.

Occluded: the picture is blank between context and outcome, so that all contexts end in equal frames.
Visible: the outcome follows the context at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # [T, H, W, 3]
BLANK_LEVEL = 128
VISIBLE_LEVELS = 20  # difference of a pixel that counts as visible, in grey levels of 255
MIRRORED_SIDE = (0.45, 0.75)  # range of the sides of a mirrored part, as shares of the picture


@dataclass(frozen=True)
class Layout:
    """Lengths of the parts of a video, in frames. `hidden` is 0 in visible quadruplets."""

    context: int
    hidden: int
    outcome: int

    @property
    def outcome_start(self) -> int:
        return self.context + self.hidden

    @property
    def frames(self) -> int:
        return self.context + self.hidden + self.outcome


@dataclass(frozen=True)
class Parts:
    """Two contexts and two outcomes. Outcome u continues context a, and outcome v continues context b."""

    contexts: dict[str, Frames]
    outcomes: dict[str, Frames]
    magnitude: float | None = None

    def video(self, context: str, outcome: str, layout: Layout) -> Frames:
        """A context, blank frames where the layout has some, and an outcome."""
        before, after = self.contexts[context], self.outcomes[outcome]
        blank = np.full((layout.hidden, *before.shape[1:]), BLANK_LEVEL, np.uint8)
        return np.concatenate([before, blank, after])


@dataclass(frozen=True)
class Splice:
    """A kind of splice.

    reach(layout, shift): the frames that it needs, as [first, stop) relative to the first frame of the
    unchanged video. shift: distance between two stretches in frames, for kinds that use one.
    """

    name: str
    join: Callable[[Frames, Layout, int, np.random.Generator], Parts]
    reach: Callable[[Layout, int], tuple[int, int]]
    uses_shift: bool = False


def other_stretch(frames: Frames, layout: Layout, shift: int, rng: np.random.Generator) -> Parts:
    """v is the outcome of a stretch of the same shot, `shift` frames later."""
    start = layout.outcome_start
    return Parts(
        {"a": frames[: layout.context], "b": frames[shift : shift + layout.context]},
        {"u": frames[start : layout.frames], "v": frames[shift + start : shift + layout.frames]},
        magnitude=float(shift),
    )


def time_reversed(frames: Frames, layout: Layout, shift: int, rng: np.random.Generator) -> Parts:
    """b-v is a stretch reversed in time, which overlaps with the stretch a-u.

    Occluded: the point about which time is reversed varies (see `reversal_offsets`). Visible: both
    contexts end in the same frame, about which time is reversed.
    """
    first = reversal_reach(layout, shift)[0]
    least, most = reversal_offsets(layout)
    # position t of the reversed video shows position `both` - t of the unchanged one
    both = sum(_pivot(layout)) - 1 + int(rng.integers(least, most + 1))
    forward = frames[-first : -first + layout.frames]
    backward = frames[[both - t - first for t in range(layout.frames)]]
    cut, start = layout.context, layout.outcome_start
    return Parts({"a": forward[:cut], "b": backward[:cut]}, {"u": forward[start:], "v": backward[start:]})


def reversal_reach(layout: Layout, shift: int) -> tuple[int, int]:
    """The frames that the reversal needs, whatever offset is drawn."""
    least, most = reversal_offsets(layout)
    return min(0, sum(_pivot(layout)) + least - layout.frames), max(layout.frames, sum(_pivot(layout)) + most)


def reversal_offsets(layout: Layout) -> tuple[int, int]:
    """Range of the offset by which the reversed stretch is later, in frames, both ends included.

    Without an offset, v begins with the last frame of context a, and a scorer that repeats the last
    visible frame finds v less surprising than u in nearly all quadruplets. With h hidden frames, the
    first two frames of u are on average h + 1.5 frames from the last visible frame. Those of v are as
    far from it at an offset of h + 2, the middle of the range.
    """
    if not layout.hidden:
        return 0, 0
    middle, width = layout.hidden + 2, layout.hidden // 2 + 1
    return middle - width, middle + width


def _pivot(layout: Layout) -> tuple[int, int]:
    """The frames about whose middle time is reversed: the blank ones, else the last of the context."""
    return (layout.context, layout.outcome_start) if layout.hidden else (layout.context - 1, layout.context)


def frozen(frames: Frames, layout: Layout, shift: int, rng: np.random.Generator) -> Parts:
    """v holds the last frame of context a. b holds it from the start, so b-v is a still picture."""
    last = frames[layout.context - 1]
    still = np.broadcast_to(last, (layout.frames, *last.shape))
    return Parts(
        {"a": frames[: layout.context], "b": still[: layout.context]},
        {"u": frames[layout.outcome_start : layout.frames], "v": still[: layout.outcome]},
    )


def part_mirrored(frames: Frames, layout: Layout, shift: int, rng: np.random.Generator) -> Parts:
    """In b and v, a part of the picture is mirrored from left to right."""
    height, width = frames.shape[1:3]
    shares = rng.uniform(*MIRRORED_SIDE, 2)
    rows, columns = max(2, round(height * shares[0])), max(2, round(width * shares[1]))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    mirrored = frames[: layout.frames].copy()
    part = mirrored[:, top : top + rows, left : left + columns]
    part[:] = part[:, :, ::-1].copy()
    cut, start = layout.context, layout.outcome_start
    return Parts(
        {"a": frames[:cut], "b": mirrored[:cut]},
        {"u": frames[start : layout.frames], "v": mirrored[start:]},
        magnitude=rows * columns / (height * width),
    )


def _whole(layout: Layout, shift: int) -> tuple[int, int]:
    return 0, layout.frames


def _two_stretches(layout: Layout, shift: int) -> tuple[int, int]:
    return 0, layout.frames + shift


SPLICES = {
    splice.name: splice
    for splice in (
        Splice("other_stretch", other_stretch, _two_stretches, uses_shift=True),
        Splice("time_reversed", time_reversed, reversal_reach),
        Splice("frozen", frozen, _whole),
        Splice("part_mirrored", part_mirrored, _whole),
    )
}


def visible_share(one: Frames, other: Frames) -> float:
    """The share of pixels that visibly differ in any channel, mean over frames."""
    difference = np.abs(one.astype(np.int16) - other).max(-1)
    return float((difference > VISIBLE_LEVELS).mean())
