"""Which window is drawn at which position of the run: pure functions, nothing to save and nothing to restore.

Position p of the run belongs to update p // global_batch. Its window is f(seed, epoch, place in the epoch), so the sequence
does not depend on workers, ranks, accumulation or restarts, and costs no memory, however many windows there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ROUNDS = 6
_CYCLE = 1024  # slots a weighted mixture is spread over: shares are exact to a thousandth


@dataclass(frozen=True)
class Draw:
    """One sample: window `index` of source `source`, in that source's `epoch`."""

    source: int
    epoch: int
    index: int


def rng(*key: int) -> np.random.Generator:
    """An independent stream for every key of non-negative integers."""
    return np.random.default_rng(list(key))


def permuted(places: np.ndarray, size: int, *key: int) -> np.ndarray:
    """Element `places` of a pseudo-random permutation of range(size), without the permutation: int64 [P] -> int64 [P].

    A Feistel network over the next power of four, walked until the value falls within `size` (Black & Rogaway 2002, "cycle
    walking"): a bijection whatever the round function.
    """
    half = max(1, (int(size - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    round_keys = np.random.SeedSequence(list(key)).generate_state(_ROUNDS, np.uint64)
    values = np.asarray(places, dtype=np.uint64).copy()
    outside = np.ones(values.shape, dtype=bool)
    while outside.any():
        left, right = values[outside] >> np.uint64(half), values[outside] & mask
        for round_key in round_keys:
            left, right = right, left ^ (_mixed(right ^ round_key) & mask)
        values[outside] = (left << np.uint64(half)) | right
        outside = values >= np.uint64(size)
    return values.astype(np.int64)


def _mixed(x: np.ndarray) -> np.ndarray:
    """64 bits well stirred (the finaliser of SplitMix64, Steele et al. 2014); overflow is meant."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Order:
    """The order of samples of a run over several sources of windows.

    Without weights the sources are one pool and an epoch draws every window once. With weights every source has epochs of
    its own, and each stretch of 1,024 positions holds the sources in their shares.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float] | None, seed: int) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"every source needs at least one window; got {list(sizes)}")
        self.sizes, self.seed = list(sizes), seed
        self.starts = np.concatenate(([0], np.cumsum(sizes)))
        self.slots = None if weights is None else _slots(weights, seed)

    def __getitem__(self, positions: np.ndarray) -> list[Draw]:
        """Samples at the given positions of the run (int64, any order)."""
        positions = np.asarray(positions, dtype=np.int64)
        if self.slots is None:
            pool = int(self.starts[-1])
            epochs, indices = self._within(positions, pool, 0)
            sources = np.searchsorted(self.starts, indices, side="right") - 1
            indices -= self.starts[sources]
            return [Draw(*draw) for draw in zip(sources.tolist(), epochs.tolist(), indices.tolist(), strict=True)]
        cycle, slot = np.divmod(positions, _CYCLE)
        sources = self.slots[slot]
        draws: list[Draw | None] = [None] * len(positions)
        for source, size in enumerate(self.sizes):
            mine = np.nonzero(sources == source)[0]
            before = np.concatenate(([0], np.cumsum(self.slots == source)))
            count = cycle[mine] * before[-1] + before[slot[mine]]  # how often this source was drawn before
            epochs, indices = self._within(count, size, source + 1)
            for at, epoch, index in zip(mine, epochs, indices, strict=True):
                draws[at] = Draw(source, int(epoch), int(index))
        return [draw for draw in draws if draw is not None]

    def _within(self, counts: np.ndarray, size: int, stream: int) -> tuple[np.ndarray, np.ndarray]:
        """Epoch and shuffled index of the counts-th draws from `size` windows."""
        epochs, places = np.divmod(counts, size)
        indices = np.empty_like(places)
        for epoch in np.unique(epochs):
            now = epochs == epoch
            indices[now] = permuted(places[now], size, self.seed, stream, int(epoch))
        return epochs, indices


def _slots(weights: Sequence[float], seed: int) -> np.ndarray:
    """Source of each slot of a cycle: shares by largest remainder, shuffled once; [1024]."""
    share = np.asarray(weights, dtype=np.float64)
    share = share / share.sum() * _CYCLE
    count = np.floor(share).astype(np.int64)
    count[np.argsort(count - share, kind="stable")[: _CYCLE - count.sum()]] += 1
    return np.repeat(np.arange(len(count)), count)[rng(seed, 1).permutation(_CYCLE)]


def share_of(update: int, global_batch: int, rank: int, ranks: int, micro: int, micros: int) -> np.ndarray:
    """Positions of one micro-batch of one rank: a contiguous part of the update's global batch."""
    size = global_batch // (ranks * micros)
    first = update * global_batch + (rank * micros + micro) * size
    return np.arange(first, first + size)
