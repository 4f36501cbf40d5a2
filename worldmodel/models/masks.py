"""Masks: which tokens of a clip are visible and which are predicted. Blocks of the picture are masked in all frames.

Multi-block tubes as in V-JEPA (Bardes et al. 2024, section 3.2; V-JEPA 2, Assran et al. 2025), with two differences. First,
token lists are cut to one length by dropping random tokens, not the last ones, which are always the latest frames. Second, that
length depends on the training step only, not on the batch: the masks of a sample are a function of its window id and of the
step's `step_seed`, so that ranks and micro-batches cannot change them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, model_validator
from torch import Tensor

from worldmodel.config import Config

BoolArray = NDArray[np.bool_]
Grid = int | tuple[int, int]  # rows and columns of tokens; one number for as many of each

_REFERENCES = 64  # layouts drawn from `step_seed` alone; token lists get the shortest length that occurs among them
_ATTEMPTS = 8  # layouts drawn for a sample; the first one that masks as many tokens as some references is used


class MaskConfig(Config):
    """One view of a clip: rectangles of the picture that are masked in every frame, and optionally the end of the clip."""

    blocks: NonNegativeInt = 8
    """number of rectangles; their union is predicted"""
    area: float = Field(0.15, gt=0, lt=1)
    """fraction of the picture that each rectangle covers"""
    aspect: tuple[float, float] = (0.75, 1.5)
    """range of height / width, drawn once for all rectangles of a training step"""
    visible_time_fraction: tuple[float, float] = (1.0, 1.0)
    """range of the visible fraction of a clip's time, drawn once per training step; everything
    later is predicted too"""

    @model_validator(mode="after")
    def _check(self) -> MaskConfig:
        problems = []
        for name, (low, high), most in (
            ("aspect", self.aspect, float("inf")),
            ("visible_time_fraction", self.visible_time_fraction, 1.0),
        ):
            if not 0 < low <= high <= most:
                problems.append(f"{name} [{low:g}, {high:g}] is not a range above 0{f' up to {most:g}' if most == 1 else ''}")
        if not self.blocks and self.visible_time_fraction[1] == 1:
            problems.append(
                "with blocks 0 and visible_time_fraction up to 1 there may be nothing to predict; lower visible_time_fraction"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def check(self, steps: int, grid: Grid) -> list[str]:
        """Return why this view does not work with so many latent steps of a grid of tokens."""
        rows, columns = _shape(grid)
        if self.blocks and any(np.prod(self.block_size(grid, aspect)) == rows * columns for aspect in (*self.aspect, 1.0)):
            return [
                f"blocks of area {self.area:g} cover all {rows} x {columns} tokens, so none would be visible; lower the area"
            ]
        if steps < 2 and self.visible_time_fraction != (1, 1):
            return [f"visible_time_fraction needs at least 2 latent steps; the window has {steps}"]
        return []

    def block_size(self, grid: Grid, aspect: float) -> tuple[int, int]:
        """Height and width in tokens, each at least 1 and at most that of the grid."""
        rows, columns = _shape(grid)
        area = rows * columns * self.area
        height, width = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        return min(max(height, 1), rows), min(max(width, 1), columns)

    def visible_steps(self, steps: int, position: float) -> int:
        """Number of latent steps with visible tokens, for a position in [0, 1] within `visible_time_fraction`."""
        low, high = (fraction * steps for fraction in self.visible_time_fraction)
        first, last = max(1, round(low)), max(1, round(high) if self.blocks else min(round(high), steps - 1))
        return min(first + int(position * (last - first + 1)), last)


@dataclass(frozen=True)
class View:
    """Token indices (step * tokens per step + token) of B clips, in order. K and M depend on the training step only."""

    visible: Tensor  # [B, K] int64
    masked: Tensor  # [B, M] int64: the tokens to predict
    drawn: NDArray[np.int64] | None = None  # `masked` as it was drawn on the CPU


def sample_views(
    masks: Sequence[MaskConfig], window_ids: Sequence[int], step_seed: int, steps: int, grid: Grid, tokens_kept: float = 1.0
) -> list[View]:
    """Sample one view per mask, for clips of `steps` latent steps of a grid of tokens.

    tokens_kept: below 1, only this share of the visible tokens is shown. The views of a clip then predict at most this share
    of its tokens together, each view equally many.
    """
    shape = _shape(grid)
    kept = None
    if tokens_kept < 1:
        kept = KeptTokens(tokens_kept, kept_count(tokens_kept, steps * shape[0] * shape[1]) // len(masks))
    return [_view(mask, number, window_ids, step_seed, steps, shape, kept) for number, mask in enumerate(masks)]


def sample_kept(views: Sequence[View], window_ids: Sequence[int], step_seed: int, tokens: int, tokens_kept: float) -> Tensor:
    """Sample the share of each clip's `tokens` that a teacher sees: int64 [B, K], in order.

    These are all tokens that a view predicts, and random other ones. Views must be sampled with the same `tokens_kept`.
    """
    count, masked, rows = kept_count(tokens_kept, tokens), [view.drawn for view in views if view.drawn is not None], []
    for row, window_id in enumerate(window_ids):
        rng = np.random.default_rng([step_seed, len(views), window_id])
        predicted = np.unique(np.concatenate([indices[row] for indices in masked]))
        others = np.setdiff1d(np.arange(tokens), predicted, assume_unique=True)
        rows.append(np.sort(np.concatenate((predicted, rng.permutation(others)[: count - len(predicted)]))))
    return torch.from_numpy(np.stack(rows))


def sample_tubes(window_ids: Sequence[int], step_seed: int, tokens: int, tokens_kept: float) -> Tensor:
    """Sample the share of the spatial `tokens` of each clip that exist, the same in all time steps: int64 [B, K], in order."""
    count = kept_count(tokens_kept, tokens)
    draws = (np.random.default_rng([step_seed, window_id]).permutation(tokens)[:count] for window_id in window_ids)
    return torch.from_numpy(np.stack([np.sort(chosen) for chosen in draws]))


def kept_count(tokens_kept: float, tokens: int) -> int:
    """Number of tokens of a clip that are kept."""
    return max(1, round(tokens_kept * tokens))


@dataclass(frozen=True)
class KeptTokens:
    """How many tokens of a view are used where tokens are dropped."""

    share: float  # of the visible tokens
    most_masked: int  # tokens to predict

    def cut(self, visible: int, masked: int) -> tuple[int, int]:
        """Numbers of visible tokens and of tokens to predict that are left, at least one of each."""
        return max(1, round(self.share * visible)), max(1, min(masked, self.most_masked))


def _shape(grid: Grid) -> tuple[int, int]:
    return (grid, grid) if isinstance(grid, int) else grid


def _view(
    mask: MaskConfig,
    number: int,
    window_ids: Sequence[int],
    step_seed: int,
    steps: int,
    grid: tuple[int, int],
    kept: KeptTokens | None,
) -> View:
    step_rng = np.random.default_rng([step_seed, number])
    block = mask.block_size(grid, step_rng.uniform(*mask.aspect))
    visible_steps, tokens = mask.visible_steps(steps, step_rng.random()), grid[0] * grid[1]
    references = _reference_layouts(step_rng, mask.blocks, block, grid)
    fewest, most = references.sum(1).min(), references.sum(1).max()
    lengths = (tokens - most) * visible_steps, fewest * visible_steps + tokens * (steps - visible_steps)
    lengths = lengths if kept is None else kept.cut(*lengths)
    visible: list[NDArray[np.int64]] = []
    masked: list[NDArray[np.int64]] = []
    for window_id in window_ids:
        sample_rng = np.random.default_rng([step_seed, number, window_id])
        layouts = _layouts(sample_rng, _ATTEMPTS, mask.blocks, block, grid)
        fitting = layouts[(layouts.sum(1) >= fewest) & (layouts.sum(1) <= most)]
        covered = fitting[0] if len(fitting) else references[sample_rng.integers(_REFERENCES)]
        hidden = np.broadcast_to(covered, (steps, tokens)).copy()
        hidden[visible_steps:] = True
        for chosen, length, result in ((~hidden, lengths[0], visible), (hidden, lengths[1], masked)):
            result.append(np.sort(sample_rng.permutation(np.flatnonzero(chosen))[:length]))
    drawn = np.stack(masked)
    return View(torch.from_numpy(np.stack(visible)), torch.from_numpy(drawn), drawn)


def _reference_layouts(rng: np.random.Generator, blocks: int, block: tuple[int, int], grid: tuple[int, int]) -> BoolArray:
    """Draw reference layouts that do not cover everything: bool [64, rows * columns]."""
    found: list[BoolArray] = []
    while len(found) < _REFERENCES:
        layouts = _layouts(rng, _REFERENCES, blocks, block, grid)
        found += list(layouts[~layouts.all(1)])
    return np.stack(found[:_REFERENCES])


def _layouts(rng: np.random.Generator, count: int, blocks: int, block: tuple[int, int], grid: tuple[int, int]) -> BoolArray:
    """Draw `count` unions of `blocks` rectangles at random positions: bool [count, rows * columns]."""
    spans = []
    for length, side in zip(block, grid, strict=True):
        line, first = np.arange(side), rng.integers(side - length + 1, size=(count, blocks, 1))
        spans.append((line >= first) & (line < first + length))
    rows, columns = spans
    return (rows[..., :, None] & columns[..., None, :]).any(1).reshape(count, -1)
