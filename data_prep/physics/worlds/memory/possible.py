"""Possible videos of the memory world, for training and for calibration.

Half of them are possible videos of the built-in world. In the others, none to four bodies fall
behind screens that sink after any time, or never.
"""

from __future__ import annotations

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.rendered_video import RenderedVideo
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.possible import sample_possible_video as sample_builtin_video
from data_prep.physics.worlds.builtin.rendering.video import render_video
from data_prep.physics.worlds.memory.base_scene import FALLEN_S, MOVE_S, SHOWN_S, sample_memory_base

HIDDEN_S = (0.3, 2.2)
MIN_DURATION_S = FALLEN_S + HIDDEN_S[0] + MOVE_S + SHOWN_S
"""Shorter videos are of the built-in world alone."""
NEVER_SINK = 0.1  # fraction of the videos in which the screens stay up


def sample_possible_video(video: VideoFormat, *key: object, levels: tuple[int, ...]) -> tuple[str, RenderedVideo]:
    """The name of a random scenario, and a video of it."""
    rng = KeyedRandom(*key)
    longest_s = min(HIDDEN_S[1], video.duration_s - FALLEN_S - MOVE_S - SHOWN_S)
    # the videos of the built-in world read the other streams from their start
    if longest_s < HIDDEN_S[0] or rng.stream("world").random() < 0.5:
        return sample_builtin_video(video, *key, levels=levels)
    base = sample_memory_base(rng, video, rng.choice(levels))
    count = rng.choice((0, 1, 2, 3, 4))
    things = base.sample_alike(count) if rng.bernoulli(0.5) else base.sample_different(count)
    scene = base.finished(dict(zip(base.sample_places(count), things, strict=True)), rng.uniform(HIDDEN_S[0], longest_s))
    if rng.bernoulli(NEVER_SINK):
        scene = scene.with_later_screens(video.duration_s)
    return "fall_behind_screens", render_video(scene.scene, video)
