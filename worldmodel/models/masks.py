"""Which tokens of a clip are seen and which are to be predicted: blocks of the picture, hidden for the whole clip.

Multi-block tubes as in V-JEPA (Bardes et al. 2024, section 3.2; V-JEPA 2, Assran et al. 2025), with two differences. Token
lists are cut to one length by leaving out tokens at random, not the last ones, which are always the latest frames. And
that length is a function of the update alone, not of the batch: a sample's masks depend on nothing but its id and the
update's `chance`, so that ranks and micro-batches cannot change them.
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

Cells = NDArray[np.bool_]

_REFERENCES = 64  # layouts drawn from `chance` alone; lengths are what a batch of them would be cut to
_ATTEMPTS = 8  # layouts drawn for a sample, of which the first is taken that is no shorter than the references


class MaskConfig(Config):
    """One view of a clip: rectangles of the picture that are hidden in every frame, and perhaps all of its end."""

    blocks: NonNegativeInt = 8  # rectangles; what they cover together is predicted
    area: float = Field(0.15, gt=0, lt=1)  # share of the picture that each of them covers
    aspect: tuple[float, float] = (0.75, 1.5)  # height to width, drawn between these for all blocks of an update
    visible_time_fraction: tuple[float, float] = (
        1.0,
        1.0,
    )  # of a clip's time, drawn between these; all that comes later is predicted too

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
                "without blocks and with visible_time_fraction up to 1 nothing may be left to predict; lower visible_time_fraction"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def check(self, steps: int, side: int) -> list[str]:
        """What makes this view impossible for so many latent steps of side x side places."""
        if self.blocks and any(np.prod(self.block_size(side, aspect)) == side**2 for aspect in (*self.aspect, 1.0)):
            return [f"blocks of area {self.area:g} cover all {side} x {side} places, so nothing would be seen"]
        if steps < 2 and self.visible_time_fraction != (1, 1):
            return [f"visible_time_fraction needs at least 2 latent steps; the window has {steps}"]
        return []

    def block_size(self, side: int, aspect: float) -> tuple[int, int]:
        """Height and width in places, at least one and at most all."""
        area = side * side * self.area
        height, width = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        return min(max(height, 1), side), min(max(width, 1), side)

    def steps_seen(self, steps: int, fraction: float) -> int:
        """Latent steps whose tokens may be seen, for a fraction in [0, 1] of the way through `visible_time_fraction`."""
        low, high = (share * steps for share in self.visible_time_fraction)
        first, last = max(1, round(low)), max(1, round(high) if self.blocks else min(round(high), steps - 1))
        return min(first + int(fraction * (last - first + 1)), last)


@dataclass(frozen=True)
class View:
    """Tokens of B clips by number (step * places + place), in order; K and M are the same for all clips of an update."""

    visible: Tensor  # [B, K] int64
    wanted: Tensor  # [B, M] int64


def draw_views(masks: Sequence[MaskConfig], ids: Sequence[int], chance: int, steps: int, side: int) -> list[View]:
    """One view a mask, for clips of `steps` latent steps and side x side places."""
    return [_view(mask, number, ids, chance, steps, side) for number, mask in enumerate(masks)]


def _view(mask: MaskConfig, number: int, ids: Sequence[int], chance: int, steps: int, side: int) -> View:
    shared = np.random.default_rng([chance, number])  # of the update
    block = mask.block_size(side, shared.uniform(*mask.aspect))
    seen, places = mask.steps_seen(steps, shared.random()), side * side
    references = _some_left(shared, mask.blocks, block, side)
    fewest, most = references.sum(1).min(), references.sum(1).max()
    lengths = (places - most) * seen, fewest * seen + places * (steps - seen)
    visible: list[NDArray[np.int64]] = []
    wanted: list[NDArray[np.int64]] = []
    for id in ids:
        own = np.random.default_rng([chance, number, id])
        drawn = _layouts(own, _ATTEMPTS, mask.blocks, block, side)
        fitting = drawn[(drawn.sum(1) >= fewest) & (drawn.sum(1) <= most)]
        covered = fitting[0] if len(fitting) else references[own.integers(_REFERENCES)]
        hidden = np.broadcast_to(covered, (steps, places)).copy()
        hidden[seen:] = True
        for tokens, length, chosen in ((~hidden, lengths[0], visible), (hidden, lengths[1], wanted)):
            chosen.append(np.sort(own.permutation(np.flatnonzero(tokens))[:length]))
    return View(*(torch.from_numpy(np.stack(rows)) for rows in (visible, wanted)))


def _some_left(chance: np.random.Generator, blocks: int, block: tuple[int, int], side: int) -> Cells:
    """So many reference layouts that do not cover everything: bool [64, side * side]."""
    found: list[Cells] = []
    while len(found) < _REFERENCES:
        drawn = _layouts(chance, _REFERENCES, blocks, block, side)
        found += list(drawn[~drawn.all(1)])
    return np.stack(found[:_REFERENCES])


def _layouts(chance: np.random.Generator, count: int, blocks: int, block: tuple[int, int], side: int) -> Cells:
    """What `blocks` rectangles at random places cover together, `count` times: bool [count, side * side]."""
    line = np.arange(side)
    spans = []
    for length in block:
        first = chance.integers(side - length + 1, size=(count, blocks, 1))
        spans.append((line >= first) & (line < first + length))
    rows, columns = spans
    return (rows[..., :, None] & columns[..., None, :]).any(1).reshape(count, side * side)
