"""Which window is at which position of the run. All functions are pure: nothing is saved, nothing is restored.

Position p of the run belongs to training step p // global batch size. Its window is a function of the seed, the epoch and
the position within the epoch. The sequence does not depend on workers, ranks, gradient accumulation or restarts, and its
memory does not grow with the number of windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ROUNDS = 6
_CYCLE = 1024  # slots of a weighted mixture: the fractions of its sources are exact to 1/1024


@dataclass(frozen=True)
class SampleIndex:
    """Identifies one sample: window `index` of source `source`, in that source's `epoch`."""

    source: int
    epoch: int
    index: int


def keyed_rng(*key: int) -> np.random.Generator:
    """Random numbers that are independent for every key of non-negative integers."""
    return np.random.default_rng(list(key))


def permute(positions: np.ndarray, size: int, *key: int) -> np.ndarray:
    """Look up `positions` in a pseudo-random permutation of range(size) without building it: int64 [P] -> int64 [P].

    A Feistel network permutes the next power of four; values outside `size` are permuted again until they fall inside
    (Black & Rogaway 2002, "cycle walking"). The result is a bijection whatever the round function is.
    """
    half = max(1, (int(size - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    round_keys = np.random.SeedSequence(list(key)).generate_state(_ROUNDS, np.uint64)
    values = np.asarray(positions, dtype=np.uint64).copy()
    outside = np.ones(values.shape, dtype=bool)
    while outside.any():
        left, right = values[outside] >> np.uint64(half), values[outside] & mask
        for round_key in round_keys:
            left, right = right, left ^ (_mix_bits(right ^ round_key) & mask)
        values[outside] = (left << np.uint64(half)) | right
        outside = values >= np.uint64(size)
    return values.astype(np.int64)


def _mix_bits(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014). The overflow of the products is intended."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class SampleOrder:
    """The order of the samples of a run over several sources of windows.

    Without weights the sources form one pool, and an epoch contains every window once. With weights each source has epochs
    of its own, and every 1,024 consecutive positions contain the sources in the given proportions.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float] | None, seed: int) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"every source needs at least one window; got {list(sizes)}")
        self.sizes, self.seed = list(sizes), seed
        self.starts = np.concatenate(([0], np.cumsum(sizes)))
        self.slots = None if weights is None else _mixture_slots(weights, seed)

    def __getitem__(self, positions: np.ndarray) -> list[SampleIndex]:
        """Return the samples at the given positions of the run (int64, in any order)."""
        positions = np.asarray(positions, dtype=np.int64)
        if self.slots is None:
            pool = int(self.starts[-1])
            epochs, indices = self._shuffled(positions, pool, 0)
            sources = np.searchsorted(self.starts, indices, side="right") - 1
            indices -= self.starts[sources]
            return [SampleIndex(*row) for row in zip(sources.tolist(), epochs.tolist(), indices.tolist(), strict=True)]
        cycle, slot = np.divmod(positions, _CYCLE)
        sources = self.slots[slot]
        samples: list[SampleIndex | None] = [None] * len(positions)
        for source, size in enumerate(self.sizes):
            rows = np.nonzero(sources == source)[0]
            before = np.concatenate(([0], np.cumsum(self.slots == source)))
            count = cycle[rows] * before[-1] + before[slot[rows]]  # number of earlier samples of this source in the run
            epochs, indices = self._shuffled(count, size, source + 1)
            for row, epoch, index in zip(rows, epochs, indices, strict=True):
                samples[row] = SampleIndex(source, int(epoch), int(index))
        return [sample for sample in samples if sample is not None]

    def _shuffled(self, counts: np.ndarray, size: int, stream: int) -> tuple[np.ndarray, np.ndarray]:
        """Epoch and shuffled index of the counts-th samples of `size` windows."""
        epochs, positions = np.divmod(counts, size)
        indices = np.empty_like(positions)
        for epoch in np.unique(epochs):
            in_epoch = epochs == epoch
            indices[in_epoch] = permute(positions[in_epoch], size, self.seed, stream, int(epoch))
        return epochs, indices


def _mixture_slots(weights: Sequence[float], seed: int) -> np.ndarray:
    """Source of each slot of a cycle, [1024]: counts by largest remainder, shuffled once."""
    fraction = np.asarray(weights, dtype=np.float64)
    fraction = fraction / fraction.sum() * _CYCLE
    count = np.floor(fraction).astype(np.int64)
    count[np.argsort(count - fraction, kind="stable")[: _CYCLE - count.sum()]] += 1
    return np.repeat(np.arange(len(count)), count)[keyed_rng(seed, 1).permutation(_CYCLE)]


def micro_batch_positions(
    step: int, global_batch: int, rank: int, world_size: int, micro_batch: int, micro_batches: int
) -> np.ndarray:
    """Positions of one micro-batch of one rank: a contiguous part of the global batch of a training step."""
    size = global_batch // (world_size * micro_batches)
    first = step * global_batch + (rank * micro_batches + micro_batch) * size
    return np.arange(first, first + size)
