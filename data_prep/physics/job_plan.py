"""The plan of what to generate: the sizes of the suites, and the jobs.

Each job has a key. All random numbers of the job and the names of its files are functions of the
key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from data_prep.physics.quadruplets import Visibility
from data_prep.physics.worlds import WORLDS

Split = Literal["train", "val", "test", "ood"]


@dataclass(frozen=True)
class SuiteSize:
    """Numbers of quadruplets per property and of calibration videos, and the video format."""

    occluded: int  # for the test
    visible: int  # for the test
    validation: int  # occluded, to choose a scorer
    unseen: int  # occluded, with held-out shapes, textures and occluders
    levels: tuple[int, ...]  # those that a world does not have are left out
    size_px: int
    frames: int
    calibration: int


SUITE_SIZES = {
    "nano": SuiteSize(2, 1, 1, 0, (1,), 64, 24, 8),
    "small": SuiteSize(60, 0, 0, 0, (1, 2), 64, 24, 100),
    "mini": SuiteSize(100, 20, 20, 0, (1, 2), 64, 24, 400),
    "full": SuiteSize(300, 60, 60, 60, (1, 2, 3), 128, 48, 400),
}


@dataclass(frozen=True)
class QuadrupletJob:
    """A quadruplet to generate."""

    property: str
    template: int  # index in the property's tuple of templates
    visibility: Visibility
    split: Split
    level: int
    index: int
    seed: int
    world: str = "builtin"

    def key(self) -> tuple[object, ...]:
        """The key of the random numbers.

        It is hashed, so the names of properties, templates and splits must stay.
        """
        world = WORLDS[self.world]
        template = world.property(self.property).templates[self.template].name
        return world.key(self.seed, self.split, self.property, template, self.level, self.index)


@dataclass(frozen=True)
class PossibleJob:
    """A possible video to generate, for training, validation or calibration."""

    stream: Literal["train", "val", "lawful"]  # "lawful" is the stream of the calibration videos
    index: int
    seed: int
    levels: tuple[int, ...] = (1, 2)
    world: str = "builtin"
    randomised_looks: float = 0.0  # probability that the video is painted anew

    def key(self) -> tuple[object, ...]:
        """The key of the random numbers. It is hashed, so the names of the streams must stay."""
        return WORLDS[self.world].key(self.seed, self.stream, self.index)

    @property
    def split(self) -> Split:
        return "train" if self.stream == "train" else "val"


VAL_INTERVAL = 20
"""Every 20th of the videos for training is held out (val). It has a random stream of its own."""


def train_jobs(count: int, seed: int, world: str = "builtin", randomised_looks: float = 0.0) -> Iterator[PossibleJob]:
    for index in range(count):
        held_out = index % VAL_INTERVAL == VAL_INTERVAL - 1
        stream: Literal["train", "val"] = "val" if held_out else "train"
        yield PossibleJob(stream, index, seed, world=world, randomised_looks=randomised_looks)


def calibration_jobs(count: int, seed: int, levels: tuple[int, ...], world: str = "builtin") -> Iterator[PossibleJob]:
    for index in range(count):
        yield PossibleJob("lawful", index, seed, levels, world)


def suite_jobs(size: SuiteSize, properties: Iterable[str], seed: int, world: str = "builtin") -> Iterator[QuadrupletJob]:
    """For each of these properties the quadruplets for test (occluded, then visible), val and ood.

    Templates alternate, then levels. A world without visible templates has no visible quadruplets,
    and levels that the world does not have are left out. Raises ValueError where it has none of them.
    """
    levels = WORLDS[world].levels_among(size.levels)
    for name in properties:
        property_ = WORLDS[world].property(name)
        groups: tuple[tuple[Split, Visibility, int], ...] = (
            ("test", "occluded", size.occluded),
            ("test", "visible", size.visible),
            ("val", "occluded", size.validation),
            ("ood", "occluded", size.unseen),
        )
        for split, visibility, count in groups:
            templates = [i for i, template in enumerate(property_.templates) if template.visibility == visibility]
            for index in range(count if templates else 0):
                turn, position = divmod(index, len(templates))
                level = levels[turn % len(levels)]
                yield QuadrupletJob(property_.name, templates[position], visibility, split, level, index, seed, world)
