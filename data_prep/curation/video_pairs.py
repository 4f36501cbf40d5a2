"""Which videos are compared for near-duplicates, and the groups that follow. Arrays of all hashes of all videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from data_prep.curation.hash_pairs import BAND_BITS, BANDS, MAX_IN_BAND, HashPairs, chunks, count_bits, expand

MAX_PRODUCT = 1 << 14  # pairs of videos that have one hash, or two hashes that match
CANDIDATES_AT_ONCE = 1 << 21
COMPARISONS_AT_ONCE = 1 << 21  # of hashes of two videos

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class VideoHashes:
    """The different hashes of N videos, together M."""

    hashes: NDArray[np.uint64]  # [M], by video, sorted within a video
    videos: Ints  # [M]
    counts: Ints  # [N]

    @classmethod
    def of(cls, hashes: Sequence[Sequence[int]]) -> VideoHashes:
        """hashes: of each video, in any order and also repeated."""
        lengths = np.fromiter(map(len, hashes), np.int64, len(hashes))
        flat = np.fromiter(chain.from_iterable(hashes), np.uint64, int(lengths.sum()))
        videos = np.repeat(np.arange(len(hashes)), lengths)
        order = np.lexsort((flat, videos))
        flat, videos = flat[order], videos[order]
        repeated = np.concatenate([[False], (flat[1:] == flat[:-1]) & (videos[1:] == videos[:-1])])[: len(flat)]
        flat, videos = flat[~repeated], videos[~repeated]
        return cls(flat, videos, np.bincount(videos, minlength=len(hashes)))

    @property
    def starts(self) -> Ints:
        """Where the hashes of each video begin, [N]."""
        return np.cumsum(self.counts) - self.counts

    def first_equals(self) -> Ints:
        """The first video that has the same hashes, [N]; a video without hashes has none but itself."""
        first: dict[bytes, int] = {}
        starts, counts = self.starts.tolist(), self.counts.tolist()
        found = [
            first.setdefault(self.hashes[start : start + count].tobytes(), video) if count else video
            for video, (start, count) in enumerate(zip(starts, counts, strict=True))
        ]
        return np.array(found, np.int64)


class Groups:
    """A partition of videos. Each group is named by its first video."""

    def __init__(self, parents: Ints) -> None:
        self._parents: list[int] = parents.tolist()

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        self._parents[second] = first

    def roots(self) -> Ints:
        """The first video of the group of each video, [N]."""
        found = np.array(self._parents, np.int64)
        while (found != (above := found[found])).any():
            found = above
        return found

    def _root(self, video: int) -> int:
        while self._parents[video] != video:
            self._parents[video] = self._parents[self._parents[video]]
            video = self._parents[video]
        return video


class SimilarVideos:
    """Pairs of videos of which at least `min_match` of the hashes of the shorter one match, and what was not compared."""

    def __init__(self, videos: VideoHashes, is_copy: NDArray[np.bool_], max_bits: int, min_match: float) -> None:
        """is_copy: [N], videos that are left out, because another one has the same hashes."""
        self._videos, self._max_bits, self._min_match = videos, max_bits, min_match
        kept = ~is_copy[videos.videos]
        self._values, codes = np.unique(videos.hashes[kept], return_inverse=True)
        owners = videos.videos[kept]
        sought = self._sought(owners, codes)
        order = np.lexsort((videos.counts[owners], ~sought, codes))  # those that are sought first, then the shortest videos
        self._owners = owners[order]
        self._holders = np.bincount(codes, minlength=len(self._values))
        self._seekers = np.bincount(codes[sought], minlength=len(self._values))
        self._begins = np.cumsum(self._holders) - self._holders
        self._hash_pairs = HashPairs(self._values, self._seekers > 0)
        self.skipped_videos = 0

    @property
    def skipped_hashes(self) -> int:
        """The number of pairs of hashes that were not compared. Known when all has been joined."""
        return self._hash_pairs.skipped()

    def join(self, groups: Groups) -> None:
        """Join the groups of all pairs that are found."""
        waiting: list[Ints] = []
        for candidates in self._candidates():
            waiting.append(candidates)
            if sum(map(len, waiting)) >= CANDIDATES_AT_ONCE:
                self._join(waiting, groups)
                waiting = []
        self._join(waiting, groups)

    def _sought(self, owners: Ints, codes: Ints) -> NDArray[np.bool_]:
        """Which hashes of which videos others are compared with, [M].

        If k of the n hashes of a video must match, one of any n - k + 1 does. So up to k - 1 hashes are not sought: those of
        a crowd, such as a title that many videos show.
        """
        crowd = np.bincount(codes, minlength=len(self._values))
        crowded = crowd**2 > MAX_PRODUCT
        for band in range(BANDS):
            keys = (self._values >> np.uint64(band * BAND_BITS)).astype(np.int64) & ((1 << BAND_BITS) - 1)
            share = np.bincount(keys)[keys]
            crowd, crowded = crowd + share, crowded | (share > MAX_IN_BAND)
        order = np.lexsort((-crowd[codes], ~crowded[codes], owners))
        counts = np.bincount(owners, minlength=len(self._videos.counts))
        rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[owners[order]]
        spare = np.ceil(self._min_match * counts - 1e-9).astype(np.int64) - 1
        sought = np.ones(len(codes), bool)
        sought[order] = ~crowded[codes[order]] | (rank >= spare[owners[order]])
        return sought

    def _candidates(self) -> Iterator[Ints]:
        """Pairs of videos that have a hash, or two that match, as one * N + other. May be repeated."""
        shared = np.flatnonzero((self._holders > 1) & (self._seekers > 0))
        yield from self._products(shared, shared, seekers=True)
        for pairs in self._hash_pairs.matches(self._max_bits):
            yield from self._products(pairs[:, 0], pairs[:, 1], seekers=True)
            yield from self._products(pairs[:, 0], pairs[:, 1], seekers=False)

    def _products(self, left: Ints, right: Ints, seekers: bool) -> Iterator[Ints]:
        """Videos that seek the hashes `left` with all that have `right`, or the other ones with those that seek `right`."""
        begins, lefts = self._begins[left], self._seekers[left]
        rights = self._holders[right]
        if not seekers:
            begins, lefts, rights = begins + lefts, self._holders[left] - lefts, self._seekers[right]
        compared = np.minimum(rights, np.maximum(1, MAX_PRODUCT // np.maximum(1, lefts)))
        self.skipped_videos += int((lefts * (rights - compared)).sum())
        counts = lefts * compared
        for first, stop in chunks(counts, CANDIDATES_AT_ONCE):
            pair, number = expand(counts[first:stop])
            pair += first
            one = self._owners[begins[pair] + number // compared[pair]]
            other = self._owners[self._begins[right][pair] + number % compared[pair]]
            different = one != other
            one, other = np.minimum(one, other)[different], np.maximum(one, other)[different]
            yield np.unique(one * len(self._videos.counts) + other)

    def _join(self, candidates: list[Ints], groups: Groups) -> None:
        if not candidates:
            return
        one, other = np.divmod(np.unique(np.concatenate(candidates)), len(self._videos.counts))
        roots = groups.roots()
        apart = roots[one] != roots[other]
        one, other = one[apart], other[apart]
        counts, starts = self._videos.counts, self._videos.starts
        swapped = counts[one] > counts[other]
        short, long = np.where(swapped, other, one), np.where(swapped, one, other)
        order = np.lexsort((counts[long], counts[short]))
        short, long = short[order], long[order]
        bounds = np.flatnonzero((np.diff(counts[short]) != 0) | (np.diff(counts[long]) != 0)) + 1
        for shorter, longer in zip(np.split(short, bounds), np.split(long, bounds), strict=True):  # of equal numbers of hashes
            if not len(shorter):
                continue
            n, m = int(counts[shorter[0]]), int(counts[longer[0]])
            step = max(1, COMPARISONS_AT_ONCE // (n * m))
            for at in range(0, len(shorter), step):
                few, many = shorter[at : at + step], longer[at : at + step]
                a = self._videos.hashes[starts[few][:, None] + np.arange(n)]
                b = self._videos.hashes[starts[many][:, None] + np.arange(m)]
                matches = (count_bits(a[:, :, None] ^ b[:, None, :]) <= self._max_bits).any(2).sum(1)
                similar = matches / n >= self._min_match
                for video, copy in zip(few[similar].tolist(), many[similar].tolist(), strict=True):
                    groups.join(video, copy)
