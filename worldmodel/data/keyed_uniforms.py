"""Random numbers for many keys at once, equal to those of numpy's generators to the last bit.

`np.random.default_rng(key)` takes 12 us, nearly all of it to mix the key. Here the keys of a batch are mixed together. The
functions below are numpy's SeedSequence (O'Neill 2015, "Developing a seed_seq alternative") and the seeding of its PCG64.
numpy guarantees that both stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_POOL = 4  # words
_WORD, _STATE = (1 << 32) - 1, (1 << 128) - 1
_PCG_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645


def keyed_uniforms(keys: Sequence[Sequence[int]], count: int) -> np.ndarray:
    """Return `np.random.default_rng(key).random(count)` for every key: float64 [keys, count]. Keys have equal lengths."""
    numbers = np.array(keys, dtype=np.uint64).reshape(len(keys), -1)
    uniforms = np.empty((len(keys), count))
    if (numbers > _WORD).any():  # SeedSequence splits these numbers into several words
        for key, row in zip(keys, uniforms, strict=True):
            np.random.default_rng(list(key)).random(out=row)
        return uniforms
    bits = np.random.PCG64(0)
    generator, state = np.random.Generator(bits), bits.state
    seeds = _seeds(_entropy_pools(list(numbers.astype(np.uint32).T)))
    for row, high, low, stream_high, stream_low in zip(uniforms, *seeds, strict=True):
        increment = ((stream_high << 64 | stream_low) << 1 | 1) & _STATE
        start = ((increment + (high << 64 | low)) * _PCG_MULTIPLIER + increment) & _STATE
        bits.state = {**state, "state": {"state": start, "inc": increment}}
        generator.random(out=row)
    return uniforms


class _Hash:
    """The hash function of SeedSequence. Its constant changes at every call."""

    def __init__(self, constant: int, multiplier: int) -> None:
        self.constant, self.multiplier = constant, multiplier

    def __call__(self, words: np.ndarray) -> np.ndarray:
        words = words ^ np.uint32(self.constant)
        self.constant = self.constant * self.multiplier & _WORD
        words = words * np.uint32(self.constant)
        return words ^ (words >> np.uint32(16))


def _mix(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    mixed = x * np.uint32(0xCA01F9DD) - y * np.uint32(0x4973F715)
    return mixed ^ (mixed >> np.uint32(16))


def _entropy_pools(words: list[np.ndarray]) -> list[np.ndarray]:
    """Words of the keys, each uint32 [keys] -> four words of entropy per key."""
    hash_words = _Hash(0x43B0D7E5, 0x931E8875)
    zeros = np.zeros_like(words[0])
    pool = [hash_words(words[i] if i < len(words) else zeros) for i in range(_POOL)]
    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                pool[target] = _mix(pool[target], hash_words(pool[source]))
    for word in words[_POOL:]:
        pool = [_mix(mixed, hash_words(word)) for mixed in pool]
    return pool


def _seeds(pool: list[np.ndarray]) -> list[list[int]]:
    """Four words of entropy -> the four 64-bit numbers that PCG64 starts from."""
    hash_words = _Hash(0x8B51F9DD, 0x58F38DED)
    words = [hash_words(pool[i % _POOL]).astype(np.uint64) for i in range(2 * _POOL)]
    return [(low | high << np.uint64(32)).tolist() for low, high in zip(words[::2], words[1::2], strict=True)]
