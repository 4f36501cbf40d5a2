"""Masks: which tokens of a clip are visible and which are predicted. Blocks of the picture are masked in all frames.

The config is here; `worldmodel/data/token_masks/drawing.py` draws the masks, in data workers or in this process.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, model_validator
from torch import Tensor

from worldmodel.config import Config
from worldmodel.data.token_masks.drawing import MaskRule, ViewRule, kept_count
from worldmodel.data.token_masks.stacked import View, draw_batch

Grid = int | tuple[int, int]  # rows and columns of tokens; one number for as many of each


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

    @property
    def rule(self) -> ViewRule:
        """What data workers get."""
        return ViewRule(self.blocks, self.area, self.aspect, self.visible_time_fraction)

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
        return self.rule.block_size(_shape(grid), aspect)

    def visible_steps(self, steps: int, position: float) -> int:
        """Number of latent steps with visible tokens, for a position in [0, 1] within `visible_time_fraction`."""
        return self.rule.visible_steps(steps, position)


def mask_rule(
    masks: Sequence[MaskConfig], steps: int, grid: Grid, tokens_kept: float = 1.0, for_teacher: bool = False
) -> MaskRule:
    """The rule by which masks are drawn, one view per config, for clips of `steps` latent steps of a grid of tokens.

    tokens_kept: below 1, only this share of the visible tokens is shown. The views of a clip then predict at most this share
    of its tokens together, each view equally many. for_teacher: the same share is drawn for a teacher.
    """
    return MaskRule(tuple(mask.rule for mask in masks), steps, _shape(grid), tokens_kept, for_teacher)


def sample_views(
    masks: Sequence[MaskConfig], window_ids: Sequence[int], step_seed: int, steps: int, grid: Grid, tokens_kept: float = 1.0
) -> list[View]:
    """Sample one view per mask in this process; arguments as for `mask_rule`."""
    return draw_batch(mask_rule(masks, steps, grid, tokens_kept), window_ids, step_seed).views


def sample_tubes(window_ids: Sequence[int], step_seed: int, tokens: int, tokens_kept: float) -> Tensor:
    """Sample the share of the spatial `tokens` of each clip that exist, the same in all time steps: int64 [B, K], in order."""
    count = kept_count(tokens_kept, tokens)
    draws = (np.random.default_rng([step_seed, window_id]).permutation(tokens)[:count] for window_id in window_ids)
    return torch.from_numpy(np.stack([np.sort(chosen) for chosen in draws]))


def _shape(grid: Grid) -> tuple[int, int]:
    return (grid, grid) if isinstance(grid, int) else grid
