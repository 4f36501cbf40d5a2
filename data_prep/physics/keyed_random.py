"""Randomness with an address: every draw follows from what it is for, never from what was drawn before it elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from data_prep.physics import VERSION

T = TypeVar("T")


class Dice:
    """Independent streams under one key, such as `seed|split|property|template|level|index|attempt`.

    Geometry, looks and camera have a stream each, so that a draw more in one moves nothing in the others.
    """

    def __init__(self, *key: object) -> None:
        self.key = "|".join(str(part) for part in key)
        self.geometry = self.stream("geometry")
        self.looks = self.stream("looks")
        self.camera = self.stream("camera")

    def stream(self, name: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{VERSION}|{self.key}|{name}".encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))

    def uniform(self, low: float, high: float) -> float:
        return float(self.geometry.uniform(low, high))

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.geometry.integers(len(choices)))]

    def side(self) -> int:
        """-1 or 1."""
        return self.pick((-1, 1))

    def chance(self, probability: float) -> bool:
        return bool(self.geometry.random() < probability)


def opaque_name(*key: object) -> str:
    """A file name that tells nothing of what is in the file: 20 hex digits of a hash of its address."""
    return hashlib.sha256("|".join(["film", VERSION, *map(str, key)]).encode()).hexdigest()[:20]
