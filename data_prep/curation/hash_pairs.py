"""Pairs of hashes that differ in few bits, without comparing every hash with every other one.

Two hashes are compared if they share a band, a fixed quarter of their bits. Two that differ in at most 3 of 64 bits always
share one. Hashes are sorted by each band. A value of a band that more than MAX_IN_BAND hashes share is split by a second band,
and where that is not enough by a third one: of such hashes only those are compared that share two (three) bands. Time and
memory grow in proportion to the number of hashes once bands are full; memory is bounded by PAIRS_AT_ONCE.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 64
BANDS = 4
BAND_BITS = HASH_BITS // BANDS
MAX_IN_BAND = 1024
PAIRS_AT_ONCE = 1 << 21

Bands = tuple[int, ...]


class HashPairs:
    """Comparison of distinct hashes. values: uint64 [U]. sought: [U]; a pair of two that are not sought is not compared.

    full: by band or bands, which hashes have a value there that more than MAX_IN_BAND hashes share, [U]. Complete after
    `matches` has ended.
    """

    def __init__(self, values: NDArray[np.uint64], sought: NDArray[np.bool_] | None = None) -> None:
        self._values = values
        self._sought = np.ones(len(values), bool) if sought is None else sought
        self.full: dict[Bands, NDArray[np.bool_]] = {}

    def matches(self, max_bits: int) -> Iterator[NDArray[np.int64]]:
        """Yield pairs of hashes that differ in at most `max_bits` bits, [P, 2] positions, each pair once."""
        for size in range(1, BANDS):
            for bands in combinations(range(BANDS), size):
                rows = np.flatnonzero(self._crowded_without(bands))
                yield from self._matches_in(bands, rows, max_bits)

    def skipped(self) -> int:
        """The number of pairs that share a band and were not compared, since all their shared bands are full.

        A pair is compared unless the bucket of *all* bands that it shares is full. For each set of bands, the pairs in
        its full buckets are counted, less those that share more bands (inclusion and exclusion).
        """
        total = 0
        for bands, full in self.full.items():
            rows = np.flatnonzero(full)
            for more in range(BANDS - len(bands)) if len(rows) else ():
                for added in combinations(sorted(set(range(BANDS)) - set(bands)), more):
                    total += (-1) ** more * self._pairs_sharing((*bands, *added), rows)
        return total

    def _crowded_without(self, bands: Bands) -> NDArray[np.bool_]:
        """The hashes that were not compared yet by fewer of these bands."""
        crowded = np.ones(len(self._values), bool)
        for fewer in combinations(bands, len(bands) - 1) if len(bands) > 1 else ():
            crowded &= self.full[fewer]
        return crowded

    def _buckets(self, bands: Bands, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows sorted by their value in these bands, those that are sought first; size of the bucket of each value)."""
        keys = self._values[rows] & _mask(bands)
        order = np.lexsort((~self._sought[rows], keys))
        keys = keys[order]
        begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
        return rows[order], np.diff(np.append(begins, len(keys)))

    def _pairs_sharing(self, bands: Bands, rows: NDArray[np.int64]) -> int:
        """The number of pairs in `rows`, of which one is sought, that have one value in these bands."""
        order, sizes = self._buckets(bands, rows)
        others = sizes - np.add.reduceat(self._sought[order].astype(np.int64), np.cumsum(sizes) - sizes)
        return int((sizes * (sizes - 1) // 2 - others * (others - 1) // 2).sum())

    def _matches_in(self, bands: Bands, rows: NDArray[np.int64], max_bits: int) -> Iterator[NDArray[np.int64]]:
        order, sizes = self._buckets(bands, rows)
        is_full = np.repeat(sizes > MAX_IN_BAND, sizes)
        self.full[bands] = np.zeros(len(self._values), bool)
        self.full[bands][order[is_full]] = True
        after = np.repeat(np.cumsum(sizes), sizes)  # where the bucket of each row ends
        counts = np.where(self._sought[order] & ~is_full, after - np.arange(len(order)) - 1, 0)
        for first, stop in chunks(counts, PAIRS_AT_ONCE):
            one, offset = expand(counts[first:stop])
            one += first
            pairs = np.stack([order[one], order[one + 1 + offset]], axis=1)
            pairs = pairs[count_bits(self._values[pairs[:, 0]] ^ self._values[pairs[:, 1]]) <= max_bits]
            yield pairs[~self._compared_before(bands, pairs)]

    def _compared_before(self, bands: Bands, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether pairs were compared by earlier bands: those that they share, where these are not full."""
        differs = self._values[pairs[:, 0]] ^ self._values[pairs[:, 1]]
        found = np.zeros(len(pairs), bool)
        for earlier, full in self.full.items():
            if earlier != bands:
                found |= (differs & _mask(earlier) == 0) & ~full[pairs[:, 0]]
        return found


def _mask(bands: Bands) -> np.uint64:
    """The bits of these bands."""
    return np.uint64(sum(((1 << BAND_BITS) - 1) << (band * BAND_BITS) for band in bands))


def chunks(counts: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Ranges [first, stop) of `counts`, in order, whose sums are at most `most`, or that are one longer element."""
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        done = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, done + most, side="right")))
        if ends[stop - 1] > done:
            yield first, stop
        first = stop


def expand(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(element, number within it) of every item, where each element has so many items: [2, 1] -> [0, 0, 1], [0, 1, 0]."""
    element = np.repeat(np.arange(len(counts)), counts)
    return element, np.arange(len(element)) - np.repeat(np.cumsum(counts) - counts, counts)


def count_bits(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The number of bits that are set, of each value."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        counted: NDArray[np.uint8] = np.bitwise_count(values)
        return counted
    return _count_bits_in_bytes(values)


def _count_bits_in_bytes(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    table = np.array([value.bit_count() for value in range(256)], np.uint8)
    in_bytes = np.ascontiguousarray(values).view(np.uint8).reshape(*values.shape, 8)
    return table[in_bytes].sum(-1, dtype=np.uint8)
