"""Random numbers that depend on a key alone, never on what was sampled before elsewhere.

The keys are hashed. Every string in them (names of streams, properties, templates and splits) must
stay as it is: another string gives other videos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from data_prep.physics import VERSION

T = TypeVar("T")


class KeyedRandom:
    """Independent random streams under one key.

    A key is such as `seed|split|property|template|level|index|attempt`. Geometry, appearance and
    camera each have their own stream: one more random number in one changes nothing in the others.
    """

    def __init__(self, *key: object) -> None:
        self.key = "|".join(str(part) for part in key)
        self.geometry = self.stream("geometry")
        self.appearance = self.stream("looks")  # hashed: the name must stay
        self.camera = self.stream("camera")

    def stream(self, name: str) -> np.random.Generator:
        """A new generator, seeded by a hash of the generator's version, the key and the name."""
        digest = hashlib.sha256(f"{VERSION}|{self.key}|{name}".encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))

    def uniform(self, low: float, high: float) -> float:
        """A number from [low, high), of the geometry stream."""
        return float(self.geometry.uniform(low, high))

    def choice(self, choices: Sequence[T]) -> T:
        """One of these, all equally probable, of the geometry stream."""
        return choices[int(self.geometry.integers(len(choices)))]

    def side(self) -> int:
        """-1 (left) or 1 (right), of the geometry stream."""
        return self.choice((-1, 1))

    def bernoulli(self, probability: float) -> bool:
        """True with this probability, of the geometry stream."""
        return bool(self.geometry.random() < probability)


def opaque_name(*key: object) -> str:
    """A file name that does not reveal the content of the file: 20 hex digits of a hash of the key."""
    return hashlib.sha256("|".join(["film", VERSION, *map(str, key)]).encode()).hexdigest()[:20]
