"""Quadruplets of the flat world. All of them are spliced."""

from __future__ import annotations

from typing import TypeAlias

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.quadruplets import Property, Quadruplet, Template, first_valid, spliced_quadruplet
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.flat.base_scene import FlatBase, sample_base_scene
from data_prep.physics.worlds.flat.rasteriser import render
from data_prep.physics.worlds.flat.scenes import FlatScene

FlatTemplate: TypeAlias = Template[FlatBase, FlatScene]
FlatProperty: TypeAlias = Property[FlatBase, FlatScene]


def sample_quadruplet(
    property_: FlatProperty, template: FlatTemplate, video: VideoFormat, level: int, *key: object, unseen: bool = False
) -> Quadruplet:
    """The first valid quadruplet of this key. Raises NoValidSampleError when no attempt is valid."""

    def attempt(rng: KeyedRandom) -> Quadruplet:
        pair = template.sample(sample_base_scene(rng, video, level, unseen=unseen))
        video_a, video_b = (render(scene, video) for scene in pair.ordered(swap=rng.bernoulli(0.5)))
        return spliced_quadruplet(property_.name, template, level, pair.magnitude, video_a, video_b)

    return first_valid(attempt, f"{property_.name}/{template.name}", video, *key)
