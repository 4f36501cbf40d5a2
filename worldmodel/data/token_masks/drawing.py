"""Which tokens of a window each view shows and which it predicts, drawn with numpy alone, so that data workers can draw them.

Multi-block tubes as in V-JEPA (Bardes et al. 2024, section 3.2; V-JEPA 2, Assran et al. 2025), with two differences. First,
token lists are cut to one length by dropping random tokens, not the last ones, which are always the latest frames. Second, that
length depends on the training step only, not on the batch: the masks of a sample are a function of its window id and of the
step's `step_seed`, so that ranks and micro-batches cannot change them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_REFERENCES = 64  # layouts drawn from `step_seed` alone; token lists get the shortest length that occurs among them
_ATTEMPTS = 8  # layouts drawn for a sample; the first one that masks as many tokens as some references is used
_KEPT_LAYOUTS = 32  # steps and views whose references are not drawn again for the next window


@dataclass(frozen=True)
class ViewRule:
    """One view of a clip; the fields are those of MaskConfig."""

    blocks: int
    area: float
    aspect: tuple[float, float]
    visible_time_fraction: tuple[float, float]

    def block_size(self, grid: tuple[int, int], aspect: float) -> tuple[int, int]:
        """Height and width in tokens, each at least 1 and at most that of the grid."""
        rows, columns = grid
        area = rows * columns * self.area
        height, width = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        return min(max(height, 1), rows), min(max(width, 1), columns)

    def visible_steps(self, steps: int, position: float) -> int:
        """Number of latent steps with visible tokens, for a position in [0, 1] within `visible_time_fraction`."""
        low, high = (fraction * steps for fraction in self.visible_time_fraction)
        first, last = max(1, round(low)), max(1, round(high) if self.blocks else min(round(high), steps - 1))
        return min(first + int(position * (last - first + 1)), last)


@dataclass(frozen=True)
class MaskRule:
    """All that the masks of a window depend on, beside the window and the training step."""

    views: tuple[ViewRule, ...]
    steps: int  # latent steps of a window
    grid: tuple[int, int]  # rows and columns of tokens
    tokens_kept: float = 1.0  # share of the visible tokens that is shown, and of all tokens that the views predict together
    for_teacher: bool = False  # whether the tokens that a teacher sees are drawn too

    @property
    def tokens(self) -> int:
        """Tokens of a window."""
        return self.steps * self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class MaskRequest:
    """The masks of one window in one training step."""

    rule: MaskRule
    step_seed: int
    window_id: int


@dataclass(frozen=True)
class WindowMasks:
    """Token indices (step * tokens per step + token) of one window, in order within each part.

    The parts: the visible tokens of each view, then the tokens to predict of each view, then those that a teacher sees.
    """

    indices: NDArray[np.uint16] | NDArray[np.int32]  # [sum of lengths]
    lengths: tuple[int, ...]  # of the parts; they depend on the training step only


def draw_masks(request: MaskRequest) -> WindowMasks:
    """Draw the masks of a window."""
    rule, step_seed, window_id = request.rule, request.step_seed, request.window_id
    views = [_draw_view(rule, number, step_seed, window_id) for number in range(len(rule.views))]
    parts = [shown for shown, _ in views] + [hidden for _, hidden in views]
    if rule.for_teacher:
        parts.append(_draw_of_teacher(rule, [hidden for _, hidden in views], step_seed, window_id))
    dtype = np.uint16 if rule.tokens <= 1 << 16 else np.int32  # they travel between processes
    return WindowMasks(np.concatenate(parts).astype(dtype), tuple(map(len, parts)))


def kept_count(tokens_kept: float, tokens: int) -> int:
    """Number of tokens of a clip that are kept."""
    return max(1, round(tokens_kept * tokens))


@dataclass(frozen=True)
class StepLayout:
    """What the windows of a training step share in one view."""

    block: tuple[int, int]  # height and width in tokens
    visible_steps: int
    references: BoolArray  # [64, tokens of a step], covered by blocks
    fewest: int  # tokens that a reference covers
    most: int

    def lengths(self, rule: MaskRule) -> tuple[int, int]:
        """Numbers of visible tokens and of tokens to predict of every window."""
        tokens = self.references.shape[1]
        visible = (tokens - self.most) * self.visible_steps
        masked = self.fewest * self.visible_steps + tokens * (rule.steps - self.visible_steps)
        if rule.tokens_kept == 1:
            return visible, masked
        most_masked = kept_count(rule.tokens_kept, rule.tokens) // len(rule.views)
        return max(1, round(rule.tokens_kept * visible)), max(1, min(masked, most_masked))


@lru_cache(_KEPT_LAYOUTS)
def step_layout(rule: MaskRule, number: int, step_seed: int) -> StepLayout:
    """Draw what the windows of a training step share in view `number`."""
    view, rng = rule.views[number], _generator(step_seed, number)
    block = view.block_size(rule.grid, rng.uniform(*view.aspect))
    visible_steps = view.visible_steps(rule.steps, rng.random())
    references = _reference_layouts(rng, view.blocks, block, rule.grid)
    covered = references.sum(1)
    return StepLayout(block, visible_steps, references, int(covered.min()), int(covered.max()))


def covered_tokens(rule: MaskRule, number: int, step_seed: int, window_id: int) -> tuple[BoolArray, np.random.Generator]:
    """The tokens of a picture that blocks cover in a window, bool [tokens of a step]; and the generator, for what follows."""
    layout, rng = step_layout(rule, number, step_seed), _generator(step_seed, number, window_id)
    firsts = [
        rng.integers(side - length + 1, size=(_ATTEMPTS, rule.views[number].blocks, 1))[..., 0].tolist()
        for length, side in zip(layout.block, rule.grid, strict=True)
    ]
    for rows, columns in zip(*firsts, strict=True):
        covered = _union(rows, columns, layout.block, rule.grid)
        if layout.fewest <= np.count_nonzero(covered) <= layout.most:
            return covered, rng
    return layout.references[rng.integers(_REFERENCES)], rng


def _draw_view(rule: MaskRule, number: int, step_seed: int, window_id: int) -> tuple[Indices, Indices]:
    """The visible tokens of a view, and those to predict."""
    layout, (covered, rng) = step_layout(rule, number, step_seed), covered_tokens(rule, number, step_seed, window_id)
    hidden = np.empty((rule.steps, len(covered)), bool)
    hidden[: layout.visible_steps], hidden[layout.visible_steps :] = covered, True
    visible_count, masked_count = layout.lengths(rule)
    return _some(rng, ~hidden, visible_count), _some(rng, hidden, masked_count)


def _some(rng: np.random.Generator, chosen: BoolArray, count: int) -> Indices:
    """`count` random ones of the chosen tokens, in order."""
    indices = np.flatnonzero(chosen)
    drawn = rng.permutation(indices)  # also where all are taken: later numbers of this generator depend on it
    if count == len(indices):
        return indices
    taken = np.zeros(chosen.size, bool)
    taken[drawn[:count]] = True
    return np.flatnonzero(taken)  # in order, in half the time of a sort


def _draw_of_teacher(rule: MaskRule, predicted: Sequence[Indices], step_seed: int, window_id: int) -> Indices:
    """The share of a window that a teacher sees: all tokens that a view predicts, and random other ones, in order."""
    rng = _generator(step_seed, len(predicted), window_id)
    needed = np.unique(np.concatenate(predicted))
    others = np.setdiff1d(np.arange(rule.tokens), needed, assume_unique=True)
    count = kept_count(rule.tokens_kept, rule.tokens)
    return np.sort(np.concatenate((needed, rng.permutation(others)[: count - len(needed)])))


def _reference_layouts(rng: np.random.Generator, blocks: int, block: tuple[int, int], grid: tuple[int, int]) -> BoolArray:
    """Draw reference layouts that do not cover everything: bool [64, rows * columns]."""
    found: list[BoolArray] = []
    while len(found) < _REFERENCES:
        firsts = [
            rng.integers(side - length + 1, size=(_REFERENCES, blocks, 1))[..., 0].tolist()
            for length, side in zip(block, grid, strict=True)
        ]
        layouts = [_union(rows, columns, block, grid) for rows, columns in zip(*firsts, strict=True)]
        found += [layout for layout in layouts if not layout.all()]
    return np.stack(found[:_REFERENCES])


def _union(rows: Sequence[int], columns: Sequence[int], block: tuple[int, int], grid: tuple[int, int]) -> BoolArray:
    """The union of rectangles that begin at these rows and columns: bool [rows * columns of the grid]."""
    covered = np.zeros(grid, bool)
    for row, column in zip(rows, columns, strict=True):
        covered[row : row + block[0], column : column + block[1]] = True
    return covered.ravel()


def _generator(*key: int) -> np.random.Generator:
    """`np.random.default_rng(list(key))`, with less time spent on taking the key apart."""
    words = [word for number in key for word in _words(number)]
    return np.random.default_rng(np.array(words, dtype=np.uint32))


def _words(number: int) -> list[int]:
    """The 32-bit words of a number, the lowest one first, as numpy's SeedSequence takes it apart."""
    if number <= 0xFFFFFFFF:
        return [number]
    return [number & 0xFFFFFFFF, *_words(number >> 32)]
