"""Possible videos of the look-away world, for training and for calibration. Everything in them obeys physics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.motion import Path
from data_prep.physics.rendered_video import RenderedVideo
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.object_sampling import LANES_M, sample_appearance
from data_prep.physics.worlds.builtin.possible import sample_possible_scene as sample_builtin_possible_scene
from data_prep.physics.worlds.builtin.scenes import Entity
from data_prep.physics.worlds.builtin.structures import sample_wood_colour, wall
from data_prep.physics.worlds.lookaway.base_scene import CAUSES, LookAwayBase, bouncing, sample_base_scene, to_and_fro, uniform
from data_prep.physics.worlds.lookaway.properties.continuity import WALL_HALF_WIDTH_M, WALLS
from data_prep.physics.worlds.lookaway.scenes import LookAway, LookAwayScene, render


def pass_by(base: LookAwayBase) -> LookAwayScene:
    """None to two bodies cross, fast or slowly; some are in the middle while nobody looks."""
    rng = base.rng
    count = rng.choice((0, 1, 1, 1, 1, 2))
    lanes = [rng.uniform(-0.15, 0.3)] if count == 1 else [LANES_M[i] for i in rng.geometry.permutation(len(LANES_M))[:count]]
    moving: list[tuple[Entity, Path | None]] = []
    hues: list[float] = []
    for number, lane in enumerate(lanes):
        hues.append(base.builtin.sample_hue(*hues, min_gap=0.12))
        appearance = sample_appearance(base.builtin, hue=hues[-1])
        middle_s = base.middle_s if rng.bernoulli(0.6) else rng.uniform(0.2, 0.8) * base.video.duration_s
        path = uniform(rng.side() * base.speed(1.0, 2.2), middle_s, rng.uniform(-0.5, 0.5))
        moving.append((base.body(f"passer {number}", appearance, 0.0, lane), path))
    return base.finished(*moving)


def bounce(base: LookAwayBase) -> LookAwayScene:
    """A body bounces off a wall, or to and fro between two walls, at any time."""
    rng, appearance = base.rng, sample_appearance(base.builtin)
    side, y_m, speed = rng.side(), rng.uniform(-0.1, 0.2), base.speed(1.1, 1.6)
    width_m, colour = base.builtin.width_m(appearance.width_px, y_m), sample_wood_colour(base.builtin)
    reach_m = WALL_HALF_WIDTH_M + width_m / 2
    if rng.bernoulli(0.5):
        half_path_m = rng.uniform(0.4, 0.8)
        at_s = rng.uniform(0.0, 1.0) * base.video.duration_s
        path = to_and_fro(side * speed, at_s, half_path_m, base.video.duration_s, WALLS)
        walls_m = dict(zip(WALLS, (-half_path_m - reach_m, half_path_m + reach_m), strict=True))
    else:
        wall_m = side * rng.uniform(0.9, 1.25)
        path = bouncing(side * speed, rng.uniform(-0.1, 0.9) * base.video.duration_s, wall_m - side * reach_m, WALLS[0])
        walls_m = {WALLS[0]: wall_m}
    walls = [(wall(base.builtin, name, x_m, y_m, 1.1 * width_m, colour), None) for name, x_m in walls_m.items()]
    return base.finished(*walls, (base.body("one", appearance, 0.0, y_m), path))


def stay(base: LookAwayBase) -> LookAwayScene:
    """A body stands still, or there is none."""
    rng = base.rng
    x_m, y_m = rng.uniform(-1.2, 1.2), rng.uniform(-0.1, 0.4)
    still = base.body("still", sample_appearance(base.builtin), x_m, y_m)
    return base.finished(*([(still, uniform(0.0, 0.0, x_m))] if rng.bernoulli(0.85) else []))


SCENARIOS: tuple[tuple[Callable[[LookAwayBase], LookAwayScene], float], ...] = (
    (pass_by, 0.4),
    (bounce, 0.16),
    (stay, 0.08),
)
"""Every scenario with its probability. The rest are scenarios of the built-in world. Names are labels in the manifests."""
NO_LOOK_AWAY = 0.1  # fraction of the videos in which everything is seen


def sample_possible_scene(
    video: VideoFormat, *key: object, levels: tuple[int, ...] = (1, 2), unseen: bool = False
) -> tuple[str, LookAwayScene]:
    """The name of a random scenario and a scene that it samples."""
    rng = KeyedRandom(*key)
    base = sample_base_scene(rng, video, rng.choice(levels), unseen=unseen)
    stream = rng.stream("scenario")
    base = replace(base, look_away=_sample_look_away(video, stream))
    chosen = stream.random() - np.cumsum([0.0, *(weight for _, weight in SCENARIOS)])
    number = int((chosen >= 0).sum()) - 1
    if number == len(SCENARIOS):
        name, builtin = sample_builtin_possible_scene(video, *key, levels=levels, unseen=unseen)
        scene = LookAwayScene(builtin, base.look_away)
    else:
        name, scene = SCENARIOS[number][0].__name__, SCENARIOS[number][0](base)
    return name, scene if stream.random() >= NO_LOOK_AWAY else replace(scene, look_away=None)


def sample_possible_video(video: VideoFormat, *key: object, levels: tuple[int, ...]) -> tuple[str, RenderedVideo]:
    """The name of a random scenario, and a video of it."""
    scenario, scene = sample_possible_scene(video, *key, levels=levels)
    return scenario, render(scene, video)


def _sample_look_away(video: VideoFormat, stream: np.random.Generator) -> LookAway:
    """A time that varies more widely than in quadruplets."""
    start = round(video.frames * stream.uniform(0.25, 0.5))
    stop = start + round(video.frames * stream.uniform(0.25, 0.42))
    return LookAway(CAUSES[int(stream.integers(len(CAUSES)))], start, stop, int(stream.choice([-1, 1])))
