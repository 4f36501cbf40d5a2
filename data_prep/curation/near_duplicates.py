"""Near-duplicates among videos, by perceptual hashes of several frames of each.

The hash of a frame is a difference hash (dHash): a bit says whether a cell of the picture is brighter
than its right neighbour. It survives another size, encoding and brightness, not a mirrored or cropped
picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.curation.recipe import DuplicateConfig

ROWS, COLUMNS = 8, 8
BANDS = 4  # two hashes of 64 bits with at most 3 different bits share one of 4 bands
MAX_IN_BAND = 200  # of a band that more videos share, each one is compared with the next one only


def frame_hash(grey: NDArray[np.uint8]) -> int:
    """The hash of a picture, 64 bits. grey: [H, W]."""
    small = Image.fromarray(grey).resize((COLUMNS + 1, ROWS), Image.Resampling.BOX)
    cells = np.asarray(small, np.int16)
    bits = (cells[:, 1:] > cells[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def group_duplicates(hashes: Sequence[Sequence[int]], config: DuplicateConfig) -> list[int]:
    """The group of each video, as the index of the first video of its group.

    hashes: of each video. Videos are compared only where a hash of both agrees in a quarter of its
    bits, so that a million videos need not be compared in pairs.
    """
    parent = list(range(len(hashes)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for one, other in sorted(_candidates(hashes)):
        first, second = sorted((root(one), root(other)))
        if first != second and match_share(hashes[one], hashes[other], config.max_bits) >= config.min_match:
            parent[second] = first
    return [root(index) for index in range(len(hashes))]


def match_share(one: Sequence[int], other: Sequence[int], max_bits: int) -> float:
    """The share of the hashes of the shorter video that have a match in the other."""
    short, long = sorted((list(dict.fromkeys(one)), list(dict.fromkeys(other))), key=len)
    if not short:
        return 0.0
    return sum(any((a ^ b).bit_count() <= max_bits for b in long) for a in short) / len(short)


def _candidates(hashes: Sequence[Sequence[int]]) -> set[tuple[int, int]]:
    """Pairs of videos that share a band of a hash."""
    bits = ROWS * COLUMNS // BANDS
    holders: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, own in enumerate(hashes):
        bands = {(band, (value >> (band * bits)) & ((1 << bits) - 1)) for value in own for band in range(BANDS)}
        for key in bands:
            holders[key].append(index)
    pairs: set[tuple[int, int]] = set()
    for indices in holders.values():
        pairs.update(combinations(indices, 2) if len(indices) <= MAX_IN_BAND else pairwise(indices))
    return pairs
