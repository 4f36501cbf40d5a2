"""Possible videos of the dynamics world, for training and for calibration.

Half of them are possible videos of the built-in world. The others are the possible scenes of six of
the properties, from random streams of their own.
"""

from __future__ import annotations

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.rendered_video import RenderedVideo
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import sample_base_scene
from data_prep.physics.worlds.builtin.possible import sample_possible_video as sample_builtin_video
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.dynamics.properties import IN_POSSIBLE_VIDEOS
from data_prep.physics.worlds.dynamics.quadruplets import render


def sample_possible_video(video: VideoFormat, *key: object, levels: tuple[int, ...]) -> tuple[str, RenderedVideo]:
    """The name of a random scenario, and a video of it."""
    rng = KeyedRandom(*key)
    if rng.stream("world").random() < 0.5:  # the videos of the built-in world read the other streams from their start
        return sample_builtin_video(video, *key, levels=levels)
    base = DynamicsBase(sample_base_scene(rng, video, rng.choice(levels)))
    property_ = rng.choice([it for it in IN_POSSIBLE_VIDEOS if video.fps >= it.templates[0].min_fps])
    pair = rng.choice(property_.templates).sample(base)
    return property_.name, render(rng.choice((pair.a, pair.b)), video)
