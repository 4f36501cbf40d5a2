"""Possible videos of the flat world, for training and for calibration. Everything in them obeys physics.

The scenarios show everything that is tested, with the same entities, so that a surprise in a test
is not mere novelty. They vary more widely.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.motion import (
    down_ramp,
    falling,
    flying,
    launched,
    passing,
    resting,
    stopping,
    until_wall,
)
from data_prep.physics.rendered_video import RenderedVideo
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.flat.base_scene import FlatBase, sample_base_scene
from data_prep.physics.worlds.flat.entities import (
    RAMP_HALF_LENGTH_M,
    SCREEN_SIDES,
    WALL_HALF_WIDTH_M,
    central_occluder,
    leaving_screen,
    occluder,
    pillar,
    ramp,
    sample_wood_colour,
    screen,
    shelf,
    wall,
)
from data_prep.physics.worlds.flat.rasteriser import render
from data_prep.physics.worlds.flat.scenes import FlatEntity, FlatScene


def pass_behind(base: FlatBase) -> FlatScene:
    """None to two bodies cross, mostly behind an occluder. The second one follows the first and is not faster."""
    rng, video = base.rng, base.video
    bodies: list[FlatEntity] = []
    hues: list[float] = []
    side, speed = rng.side(), rng.uniform(1.3, 2.6) / video.slowdown
    start_m = speed * video.duration_s * (rng.uniform(0.45, 0.55) if rng.bernoulli(0.6) else rng.uniform(0.2, 0.8))
    for number in range(rng.choice((0, 1, 1, 1, 1, 2, 2))):
        hues.append(base.sample_hue(*hues, min_gap=0.12))
        one = base.sample_appearance(hue=hues[-1])
        if bodies:
            start_m += bodies[0].half_m[0] + one.half_m + rng.uniform(0.15, 0.8)
            speed *= rng.uniform(0.8, 1.0)
        bodies.append(one.body(f"passer {number}", passing(side, speed, start_m / speed, one.standing_m)))
    hiding = [occluder(base, rng.uniform(0.5, 1.1), rng.uniform(1.0, 1.35), rng.uniform(-0.3, 0.3))]
    return base.scene.with_entities([*bodies, *(hiding if rng.bernoulli(0.85) else [])])


def pass_on_floors(base: FlatBase) -> FlatScene:
    """A body passes on the floor or on a shelf; sometimes one on each."""
    rng, video = base.rng, base.video
    height_m = rng.uniform(1.15, 1.5)
    bodies, first = [], rng.bernoulli(0.5)
    for number, upper in enumerate((first, not first)[: rng.choice((1, 1, 2))]):
        one = base.sample_appearance()
        z_m = one.standing_m + (height_m if upper else 0.0)
        middle_s = video.duration_s * rng.uniform(0.4, 0.6)
        path = passing(rng.side(), rng.uniform(1.4, 2.2) / video.slowdown, middle_s, z_m, "shelf" if upper else "")
        bodies.append(one.body(f"passer {number}", path))
    hiding = [central_occluder(base, height_m + 1.05)]
    return base.scene.with_entities([shelf(base, height_m), *bodies, *(hiding if rng.bernoulli(0.85) else [])])


def come_to_rest(base: FlatBase) -> FlatScene:
    """A body slows down and stops in full view, behind an occluder, or behind a screen that leaves; or none comes."""
    rng, one = base.rng, base.sample_appearance()
    cover = rng.choice(("open", "occluder", "occluder", "screen", "screen"))
    rest_m = rng.uniform(-1.0, 1.0) if cover == "open" else rng.uniform(-0.15, 0.15)
    path = stopping(rng.side(), rest_m, base.video.duration_s * rng.uniform(0.42, 0.6), one.standing_m)
    hiding = {"open": [], "occluder": [central_occluder(base)], "screen": [leaving_screen(base)]}[cover]
    return base.scene.with_entities([*([one.body("one", path)] if rng.bernoulli(0.8) else []), *hiding])


def wait_behind(base: FlatBase) -> FlatScene:
    """A screen comes, and mostly leaves, in front of a body at rest, or of nothing."""
    rng, duration, one = base.rng, base.video.duration_s, base.sample_appearance()
    gone_s = rng.uniform(0.58, 0.72) * duration if rng.bernoulli(0.85) else None
    hiding = screen(base, rng.uniform(0.25, 0.35) * duration, gone_s, move_s=rng.uniform(0.12, 0.17) * duration)
    bodies = [one.body("still", resting(rng.uniform(-0.25, 0.25), one.standing_m))] if rng.bernoulli(0.8) else []
    return base.scene.with_entities([*bodies, hiding])


def turn_back(base: FlatBase) -> FlatScene:
    """A body bounces off a wall whose top shows above an occluder, or passes without a wall."""
    rng, one, side = base.rng, base.sample_appearance(), base.rng.side()
    speed, middle_s = rng.uniform(1.6, 2.1) / base.video.slowdown, base.video.duration_s * rng.uniform(0.44, 0.56)
    hiding = [occluder(base, rng.uniform(0.75, 1.15), rng.uniform(1.1, 1.3))] if rng.bernoulli(0.85) else []
    if rng.bernoulli(0.7):
        contact_m = side * (WALL_HALF_WIDTH_M + one.half_m)
        path = until_wall(side, speed, middle_s, contact_m, one.standing_m, "wall", bounces=True)
        return base.scene.with_entities([wall(base, 0.0, rng.uniform(2.1, 2.4)), one.body("one", path), *hiding])
    return base.scene.with_entities([one.body("one", passing(side, speed, middle_s, one.standing_m)), *hiding])


def meet_wall(base: FlatBase) -> FlatScene:
    """A body moves towards a wall, which stops it, or there is no wall. Often a screen comes before."""
    rng, one, side = base.rng, base.sample_appearance(), base.rng.side()
    speed, middle_s = rng.uniform(1.8, 2.5) / base.video.slowdown, base.video.duration_s * rng.uniform(0.45, 0.6)
    hiding = _optional_screen(base, 0.95)
    if rng.bernoulli(0.5):
        wall_m = rng.uniform(-0.12, 0.12)
        contact_m = wall_m + side * (WALL_HALF_WIDTH_M + one.half_m)
        contact_s = middle_s - side * contact_m / speed
        path = until_wall(side, speed, contact_s, contact_m, one.standing_m, "wall", bounces=False)
        obstacle = wall(base, wall_m, max(rng.uniform(0.9, 1.4) * one.height_m, 0.7))
        return base.scene.with_entities([obstacle, one.body("one", path), *hiding])
    return base.scene.with_entities([one.body("one", passing(side, speed, middle_s, one.standing_m)), *hiding])


def drop(base: FlatBase) -> FlatScene:
    """A body falls on the floor or on a pillar, and may bounce, in full view or behind a screen."""
    rng, one = base.rng, base.sample_appearance()
    rise_m_s = rng.uniform(0.0, 1.2) + 1.6 * max(base.video.duration_s - 2, 0)
    height_m = rng.uniform(0.5, 0.9) if rng.bernoulli(0.5) else 0.0
    x_m = rng.uniform(-0.05, 0.05) if rng.bernoulli(0.6) else rng.uniform(-1.3, 1.3)
    bounce = rng.choice((0.0, 0.0, 0.45, 0.65))
    path = falling(x_m, rng.uniform(3.0, 3.4), rise_m_s, height_m + one.standing_m, bounce, "pillar" if height_m else "")
    pillars = [pillar(base, x_m, height_m)] if height_m else []
    return base.scene.with_entities([*pillars, one.body("one", path), *_optional_screen(base, 0.85)])


def roll_down(base: FlatBase) -> FlatScene:
    """A disc drops on a ramp and rolls down, or drops on the floor where there is no ramp."""
    rng, one = base.rng, base.sample_appearance("disc")
    side, slope = rng.side(), float(np.deg2rad(rng.uniform(22, 42)))
    start_m, rise_m_s = rng.uniform(3.0, 3.4), rng.uniform(0.0, 0.8) + 1.6 * max(base.video.duration_s - 2, 0)
    hiding = _optional_screen(base, 0.95, height_m=1.5, from_below=True)
    if rng.bernoulli(0.85):
        path = down_ramp(start_m, rise_m_s, one.half_m, side, slope, RAMP_HALF_LENGTH_M, "ramp")
        wedge = ramp(base, "ramp", side, slope, sample_wood_colour(base))
        return base.scene.with_entities([wedge, one.body("one", path), *hiding])
    return base.scene.with_entities([one.body("one", falling(0.0, start_m, rise_m_s, one.standing_m)), *hiding])


def fly(base: FlatBase) -> FlatScene:
    """A body bounces through the picture in high arcs, mostly behind a high occluder."""
    rng, video, one = base.rng, base.video, base.sample_appearance()
    speed, middle_s = rng.uniform(1.7, 3.0) / video.slowdown, video.duration_s * rng.uniform(0.35, 0.65)
    middle_m, rise_m_s = rng.uniform(1.9, 2.4), rng.uniform(-2.2, 2.2)
    path = flying(rng.side(), speed, middle_s, middle_m, rise_m_s, one.standing_m, video.duration_s)
    hiding = [occluder(base, rng.uniform(0.75, 1.0), rng.uniform(2.6, 3.1))] if rng.bernoulli(0.7) else []
    return base.scene.with_entities([one.body("one", path), *hiding])


def strike(base: FlatBase) -> FlatScene:
    """A disc hits another one at rest, in full view or behind a screen; or none moves."""
    rng, side, duration = base.rng, base.rng.side(), base.video.duration_s
    speed, width_px = rng.uniform(1.8, 2.6) / base.video.slowdown, rng.uniform(11.2, 12.4)
    hue = base.sample_hue()
    struck, striker = (base.sample_appearance("disc", own, width_px) for own in (hue, base.sample_hue(hue)))
    rest_m, hit_s = -side * rng.uniform(0.0, 0.3), duration * rng.uniform(0.42, 0.58)
    hiding = _optional_screen(base, rng.uniform(0.9, 1.05))
    if rng.bernoulli(0.75):
        moved = launched(rest_m, struck.half_m, hit_s, -side * speed, "striker")
        contact_m = rest_m + side * 2 * struck.half_m
        approach = until_wall(side, speed, hit_s, contact_m, struck.half_m, "struck", bounces=False)
        return base.scene.with_entities([struck.body("struck", moved), striker.body("striker", approach), *hiding])
    return base.scene.with_entities([struck.body("struck", resting(rest_m, struck.half_m)), *hiding])


SCENARIOS: tuple[tuple[Callable[[FlatBase], FlatScene], float], ...] = (
    (pass_behind, 0.30),
    (come_to_rest, 0.14),
    (turn_back, 0.10),
    (pass_on_floors, 0.08),
    (wait_behind, 0.08),
    (meet_wall, 0.07),
    (roll_down, 0.06),
    (fly, 0.06),
    (strike, 0.06),
    (drop, 0.05),
)
"""Every scenario with its probability. The names of the functions are the labels in the manifests."""


def sample_possible_scene(
    video: VideoFormat, *key: object, levels: tuple[int, ...] = (1, 2), unseen: bool = False
) -> tuple[str, FlatScene]:
    """The name of a random scenario and a scene that it samples."""
    rng = KeyedRandom(*key)
    base = sample_base_scene(rng, video, rng.choice(levels), unseen=unseen)
    weights = np.array([weight for _, weight in SCENARIOS])
    scenario = SCENARIOS[int(rng.stream("scenario").choice(len(SCENARIOS), p=weights / weights.sum()))][0]
    return scenario.__name__, scenario(base)


def sample_possible_video(video: VideoFormat, *key: object, levels: tuple[int, ...]) -> tuple[str, RenderedVideo]:
    """The name of a random scenario, and a video of it."""
    scenario, scene = sample_possible_scene(video, *key, levels=levels)
    return scenario, render(scene, video)


def _optional_screen(
    base: FlatBase, half_width_m: float, height_m: float = 1.35, *, from_below: bool = False
) -> list[FlatEntity]:
    """Mostly a screen that comes early and stays; sometimes it leaves again, or there is none."""
    rng, duration = base.rng, base.video.duration_s
    if rng.bernoulli(0.3):
        return []
    gone_s = rng.uniform(0.6, 0.8) * duration if rng.bernoulli(0.25) else None
    up_s, move_s, comes_from = 0.2 * duration, 0.16 * duration, SCREEN_SIDES[0] if from_below else None
    return [screen(base, up_s, gone_s, half_width_m=half_width_m, height_m=height_m, move_s=move_s, comes_from=comes_from)]
