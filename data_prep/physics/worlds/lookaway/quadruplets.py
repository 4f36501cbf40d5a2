"""Quadruplets of the look-away world. All of them are spliced while nothing is seen."""

from __future__ import annotations

from typing import TypeAlias

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.quadruplets import Property, Quadruplet, Template, first_valid, spliced_quadruplet
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.lookaway.base_scene import LookAwayBase, sample_base_scene
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene, render

LookAwayTemplate: TypeAlias = Template[LookAwayBase, LookAwayScene]
LookAwayProperty: TypeAlias = Property[LookAwayBase, LookAwayScene]


def sample_quadruplet(
    property_: LookAwayProperty, template: LookAwayTemplate, video: VideoFormat, level: int, *key: object, unseen: bool = False
) -> Quadruplet:
    """The first valid quadruplet of this key. Raises NoValidSampleError when no attempt is valid."""

    def attempt(rng: KeyedRandom) -> Quadruplet:
        pair = template.sample(sample_base_scene(rng, video, level, unseen=unseen))
        a, b = pair.ordered(swap=rng.bernoulli(0.5))
        assert a.look_away is not None
        unseen_frames = a.look_away.unseen_frames(video)
        video_a, video_b = render(a, video), render(b, video)
        return spliced_quadruplet(
            property_.name,
            template,
            level,
            pair.magnitude,
            video_a,
            video_b,
            unseen_frames,
            template.copy_class,  # computed, it would be neutral: the last frame may be the same in both videos
        )

    return first_valid(attempt, f"{property_.name}/{template.name}", video, *key)
