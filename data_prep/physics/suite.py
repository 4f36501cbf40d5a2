"""What is made: the properties, the sizes of the suites, and the plan of jobs, each with an address of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from data_prep.physics.properties.collision import COLLISION
from data_prep.physics.properties.colour import COLOUR
from data_prep.physics.properties.continuity import CONTINUITY
from data_prep.physics.properties.gravity import GRAVITY
from data_prep.physics.properties.inertia import INERTIA
from data_prep.physics.properties.permanence import PERMANENCE
from data_prep.physics.properties.shape import SHAPE
from data_prep.physics.properties.size import SIZE
from data_prep.physics.properties.solidity import SOLIDITY
from data_prep.physics.properties.support import SUPPORT
from data_prep.physics.quadruplets import Property, Visibility

PROPERTIES: tuple[Property, ...] = (
    PERMANENCE,
    CONTINUITY,
    SHAPE,
    COLOUR,
    SIZE,
    SOLIDITY,
    GRAVITY,
    SUPPORT,
    INERTIA,
    COLLISION,
)
"""Every property there is. A new one: a file in `properties/`, and its line here."""

BY_NAME = {property_.name: property_ for property_ in PROPERTIES}
Split = Literal["train", "val", "test", "ood"]


@dataclass(frozen=True)
class Size:
    """How many quadruplets a property has, how its films are taken, and how many lawful films stand beside."""

    occluded: int  # for testing
    visible: int
    validation: int  # occluded, for choosing how to score
    unseen: int  # occluded, of held-out shapes, textures and occluders
    levels: tuple[int, ...]
    size_px: int
    frames: int
    lawful: int


SIZES = {
    "nano": Size(2, 1, 1, 0, (1,), 64, 24, 8),
    "mini": Size(100, 20, 20, 0, (1, 2), 64, 24, 400),
    "full": Size(300, 60, 60, 60, (1, 2, 3), 128, 48, 400),
}


@dataclass(frozen=True)
class QuadrupletJob:
    """One quadruplet to be made. `key` is the address of its randomness."""

    property: str
    template: int  # in the property's tuple of templates
    visibility: Visibility
    split: Split
    level: int
    index: int
    seed: int

    def key(self) -> tuple[object, ...]:
        template = BY_NAME[self.property].templates[self.template].name
        return (self.seed, self.split, self.property, template, self.level, self.index)


@dataclass(frozen=True)
class LawfulJob:
    """One lawful film to be made."""

    stream: Literal["train", "val", "lawful"]
    index: int
    seed: int
    levels: tuple[int, ...] = (1, 2)

    def key(self) -> tuple[object, ...]:
        return (self.seed, self.stream, self.index)

    @property
    def split(self) -> Split:
        return "train" if self.stream == "train" else "val"


VAL_EVERY = 20
"""Of the films to learn from, each so-manieth is held out, and drawn from a stream of its own."""


def train_jobs(count: int, seed: int) -> Iterator[LawfulJob]:
    for index in range(count):
        held_out = index % VAL_EVERY == VAL_EVERY - 1
        yield LawfulJob("val" if held_out else "train", index, seed)


def lawful_jobs(size: Size, seed: int) -> Iterator[LawfulJob]:
    for index in range(size.lawful):
        yield LawfulJob("lawful", index, seed, size.levels)


def suite_jobs(size: Size, properties: tuple[Property, ...], seed: int) -> Iterator[QuadrupletJob]:
    """Property by property: test, in plain sight, val, held out. Templates take turns, then levels."""
    for property_ in properties:
        groups: tuple[tuple[Split, Visibility, int], ...] = (
            ("test", "occluded", size.occluded),
            ("test", "visible", size.visible),
            ("val", "occluded", size.validation),
            ("ood", "occluded", size.unseen),
        )
        for split, visibility, count in groups:
            templates = [i for i, template in enumerate(property_.templates) if template.visibility == visibility]
            for index in range(count if templates else 0):
                turn, place = divmod(index, len(templates))
                level = size.levels[turn % len(size.levels)]
                yield QuadrupletJob(property_.name, templates[place], visibility, split, level, index, seed)
