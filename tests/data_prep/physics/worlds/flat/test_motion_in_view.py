"""In the flat world, bodies stay above the floor and do not pass through each other, at any frame rate."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.motion import track
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from data_prep.physics.worlds.flat.base_scene import FlatBase, sample_base_scene
from data_prep.physics.worlds.flat.possible import fly, pass_behind
from data_prep.physics.worlds.flat.scenes import FlatScene
from data_prep.physics.worlds.flat.shapes import BELOW
from eval.voe.oracle import violations
from eval.voe.pairs import QUADRUPLET

GRAVITY = WORLDS["flat"].property("gravity")
ARC = next(template for template in GRAVITY.templates if template.name == "arc")
VIDEO = VideoFormat()


def base_of(index: int, video: VideoFormat = VIDEO) -> FlatBase:
    return sample_base_scene(KeyedRandom("in view", index), video, 1, unseen=index % 3 == 2)


def paths(scene: FlatScene, names: str, duration_s: float = VIDEO.duration_s) -> list[tuple[str, float, np.ndarray]]:
    """Shape, half width and positions of the bodies whose names begin like this."""
    times_s = np.linspace(0, duration_s, 500)
    bodies = [entity for entity in scene.entities if entity.name.startswith(names)]
    return [(body.shape, body.half_m[0], track(body.path, times_s).position_m) for body in bodies]


@pytest.mark.parametrize("video", [VIDEO, VideoFormat(64, 24, 5.0), VideoFormat(64, 48, 12.0)], ids=str)
def test_what_flies_stays_above_the_floor(video):
    for index in range(40):
        pair = ARC.sample(base_of(index, video))
        for scene in (pair.a, pair.b, fly(base_of(index, video))):
            ((shape, half_m, position_m),) = paths(scene, "one", video.duration_s)
            assert position_m[:, 1].min() > BELOW[shape] * half_m - 1e-6


def test_two_passers_do_not_go_through_each_other():
    pairs = [both for index in range(200) if len(both := paths(pass_behind(base_of(index)), "passer")) == 2]
    assert len(pairs) > 20
    for (_, half_m, one), (_, other_half_m, other) in pairs:
        assert np.abs(one[:, 0] - other[:, 0]).min() > half_m + other_half_m + 0.1


@pytest.mark.parametrize("video", [VideoFormat(32, 24, 5.0), VideoFormat(32, 100, 5.0), VideoFormat(32, 17, 10.0)], ids=str)
def test_an_arc_has_valid_quadruplets_in_slow_long_and_short_videos(video):
    for index in range(3):
        found = WORLDS["flat"].sample_quadruplet(GRAVITY, ARC, video, 1, "arc", index)
        counts = [len(violations(found.videos[pair].ground_truth(), video.fps)) for pair in QUADRUPLET]
        assert counts[:2] == [0, 0]
        assert min(counts[2:]) > 0
