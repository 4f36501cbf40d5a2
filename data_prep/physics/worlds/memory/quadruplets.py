"""Quadruplets of the memory world, spliced while the screens hide all bodies."""

from __future__ import annotations

from typing import TypeAlias

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.quadruplets import (
    InvalidSample,
    Property,
    Quadruplet,
    Template,
    first_valid,
    occluded_interval,
    spliced_quadruplet,
)
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.rendering.video import render_video
from data_prep.physics.worlds.memory.base_scene import MemoryBase, MemoryScene, sample_memory_base

MemoryTemplate: TypeAlias = Template[MemoryBase, MemoryScene]
MemoryProperty: TypeAlias = Property[MemoryBase, MemoryScene]


def sample_quadruplet(
    property_: MemoryProperty, template: MemoryTemplate, video: VideoFormat, level: int, *key: object, unseen: bool = False
) -> Quadruplet:
    """The first valid quadruplet of this key. Raises NoValidSampleError when no attempt is valid.

    What differs is hidden for exactly the time that the template names, rounded to frames.
    """

    def attempt(rng: KeyedRandom) -> Quadruplet:
        pair = template.sample(sample_memory_base(rng, video, level, unseen=unseen))
        scenes = pair.ordered(swap=rng.bernoulli(0.5))
        video_a, video_b = (render_video(it.scene, video) for it in scenes)
        start, stop = occluded_interval(video_a, video_b)
        if lacking := round(pair.a.hidden_s * video.fps) - (stop - start):
            video_a, video_b = (render_video(it.with_later_screens(lacking / video.fps).scene, video) for it in scenes)
            if occluded_interval(video_a, video_b) != (start, stop + lacking):
                raise InvalidSample(f"the differences are not hidden for {pair.a.hidden_s:g} s")
        return spliced_quadruplet(property_.name, template, level, pair.magnitude, video_a, video_b)

    return first_valid(attempt, f"{property_.name}/{template.name}", video, *key)
