"""Possible videos, for training and for calibration. Everything in them obeys physics.

A scenario samples a scene. The scenarios show everything that is tested, with the same entities at
the same positions as in the tests, so that a surprise in a test is not mere novelty. They vary more
widely: which bodies appear, how many, from where, how fast, and whether any appears at all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.rendered_video import RenderedVideo
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import BaseScene, sample_base_scene
from data_prep.physics.worlds.builtin.bodies import Appearance, body
from data_prep.physics.worlds.builtin.object_sampling import (
    colliding_discs,
    falling_body,
    frictionless_body,
    passing_bodies,
    passing_body,
    sample_appearance,
    sliding_shapes,
    stopping_body,
)
from data_prep.physics.worlds.builtin.occluders import central_occluder, occluder, screen, sinking_screen, temporary_screen
from data_prep.physics.worlds.builtin.rendering.video import render_video
from data_prep.physics.worlds.builtin.scenes import Entity, Scene
from data_prep.physics.worlds.builtin.structures import pillar, ramp, sample_wood_colour, tables_and_bridge, wall


def pass_behind(base: BaseScene) -> Scene:
    """None to two bodies cross. There is an occluder, which they pass behind or beside."""
    rng = base.rng
    panel = occluder(base, rng.uniform(-0.3, 0.3), rng.uniform(0.45, 0.75), rng.uniform(0.45, 0.62))
    count = rng.choice((0, 1, 1, 1, 1, 2, 2))
    return base.scene.with_entities([panel, *passing_bodies(base, count, centred=rng.bernoulli(0.6))])


def pass_open(base: BaseScene) -> Scene:
    """One to three bodies cross in full view."""
    return base.scene.with_entities(passing_bodies(base, base.rng.choice((1, 1, 2, 3)), centred=False))


def pass_aslant(base: BaseScene) -> Scene:
    """A body comes nearer or goes away while it crosses, mostly behind an occluder."""
    rng, appearance = base.rng, sample_appearance(base)
    side, slope = rng.side(), float(np.tan(np.deg2rad(rng.uniform(-25, 25))))
    speed, middle_s = rng.uniform(1.4, 2.1) / base.video.slowdown, base.video.duration_s * rng.uniform(0.4, 0.6)
    velocity = (-side * speed, slope * speed, 0.0)
    start = (side * speed * middle_s, 0.2 - slope * speed * middle_s)
    width = base.width_m(appearance.width_px, 0.2)
    one = body(base, "one", appearance, start, width_m=width, velocity_m_s=velocity)
    panel = [occluder(base, rng.uniform(-0.1, 0.1), rng.uniform(0.55, 0.72))] if rng.bernoulli(0.7) else []
    return base.scene.with_entities([*panel, one])


def wait_behind(base: BaseScene) -> Scene:
    """One or two screens rise and sink in front of bodies at rest, or of nothing."""
    rng, duration = base.rng, base.video.duration_s
    if rng.bernoulli(0.35):
        distance = rng.uniform(0.68, 0.8)
        screens = [temporary_screen(base, side * distance, 0.5, f"screen {side:+d}") for side in (-1, 1)]
        positions = [x_m for x_m in (-distance * 1.22, distance * 1.22) if rng.bernoulli(0.5)]
    else:
        up_s, move_s = rng.uniform(0.25, 0.35) * duration, rng.uniform(0.12, 0.17) * duration
        down_s = rng.uniform(0.58, 0.72) * duration if rng.bernoulli(0.85) else None
        screens = [screen(base, up_s, down_s, half_width_m=rng.uniform(0.55, 0.75), move_s=move_s)]
        positions = [rng.uniform(-0.2, 0.2)] if rng.bernoulli(0.8) else []
    bodies = [
        body(base, f"still {number}", sample_appearance(base), (x_m, rng.uniform(-0.1, 0.25)))
        for number, x_m in enumerate(positions)
    ]
    return base.scene.with_entities([*screens, *bodies])


def meet_wall(base: BaseScene) -> Scene:
    """A body moves towards a wall, or there is no wall.

    Often a screen rises before it arrives.
    """
    rng, duration, appearance = base.rng, base.video.duration_s, sample_appearance(base)
    side, y_m = rng.side(), rng.uniform(-0.05, 0.2)
    width = base.width_m(appearance.width_px, y_m)
    speed = rng.uniform(1.6, 2.3) / base.video.slowdown
    one = passing_body(base, "one", appearance, side, y_m, speed, duration * rng.uniform(0.45, 0.62))
    walls = [wall(base, "plate", rng.uniform(-0.15, 0.15), y_m, rng.uniform(0.8, 1.4) * width, sample_wood_colour(base))]
    return base.scene.with_entities([*(walls if rng.bernoulli(0.5) else []), *_optional_screen(base, 0.68), one])


def drop(base: BaseScene) -> Scene:
    """One or two bodies fall on the floor or on a pillar, in full view or behind a screen."""
    rng, appearance = base.rng, sample_appearance(base)
    y_m, x_m = rng.uniform(0.0, 0.2), rng.uniform(-0.05, 0.05)
    pillars = [pillar(base, x_m, y_m, rng.uniform(0.5, 0.76), sample_wood_colour(base))]
    falling = [falling_body(base, "one", (x_m, y_m))]
    if rng.bernoulli(0.3):
        falling.append(falling_body(base, "two", (rng.side() * rng.uniform(1.0, 1.3), rng.uniform(0.0, 0.6))))
    screens = _optional_screen(base, 0.64, rng.uniform(0.48, 0.62), up=0.17)
    beside = []
    if rng.bernoulli(0.3) and len(falling) < 2:
        beside = [body(base, "beside", appearance, (rng.side() * rng.uniform(1.1, 1.4), 0.3))]
    return base.scene.with_entities([*(pillars if rng.bernoulli(0.6) else []), *screens, *falling, *beside])


def roll_down(base: BaseScene) -> Scene:
    """A ball drops on a ramp and rolls down, or drops on the floor where there is no ramp."""
    rng = base.rng
    y_m = rng.uniform(0.0, 0.2)
    ramps = [ramp(base, "ramp", rng.side(), rng.uniform(20, 42), y_m, sample_wood_colour(base))]
    ball = falling_body(base, "one", (0.0, y_m), ball=True)
    return base.scene.with_entities(
        [*(ramps if rng.bernoulli(0.85) else []), *_optional_screen(base, 0.72, 0.64, up=0.19), ball]
    )


def cross_gap(base: BaseScene) -> Scene:
    """A body slides over tables: across a bridge between them, or into the gap."""
    rng, appearance, duration = base.rng, sample_appearance(base), base.video.duration_s
    y_m, height, side = 0.15, rng.uniform(0.36, 0.48), rng.side()
    half_gap = rng.uniform(1.45, 1.95) * base.width_m(appearance.width_px, y_m) / 2
    speed = rng.uniform(1.7, 2.2) / base.video.slowdown
    start = (side * speed * duration * rng.uniform(0.45, 0.6), y_m)
    one = body(base, "one", appearance, start, on_m=height, velocity_m_s=(-side * speed, 0.0, 0.0))
    left, right, bridge = tables_and_bridge(base, half_gap, y_m, height)
    bridges = [] if rng.bernoulli(0.5) else [bridge]
    return base.scene.with_entities([left, right, *bridges, *_optional_screen(base, 0.72, 0.66), one])


def strike(base: BaseScene) -> Scene:
    """A disc hits another one at rest or misses it, in full view or behind a screen; or none moves."""
    rng, video = base.rng, base.video
    side, speed = rng.side(), rng.uniform(1.7, 2.4) / video.slowdown
    y_m, rest_m = rng.uniform(0.0, 0.2), -side * rng.uniform(0.0, 0.35)
    hue = base.sample_hue()
    width = base.width_m(rng.uniform(11.0, 12.0), y_m)
    appearance = sample_appearance(base, "cylinder", hue)
    start_m = rest_m + side * (speed * video.duration_s * rng.uniform(0.42, 0.6) + width)
    other = sample_appearance(base, "cylinder", base.sample_hue(hue))
    lane_m = y_m if rng.bernoulli(0.8) else y_m + 1.3 * width
    struck, striker = colliding_discs(base, (appearance, other), width, (rest_m, y_m), (start_m, lane_m), -side * speed)
    strikers = [striker] if rng.bernoulli(0.75) else []
    return base.scene.with_entities([*_optional_screen(base, rng.uniform(0.7, 0.94)), struck, *strikers])


def tower(base: BaseScene) -> Scene:
    """Two or three boxes stand on one another. A ball may run into them."""
    rng, y_m = base.rng, 0.3
    width_px = rng.uniform(10.6, 11.6)
    floor_m = 0.9 * base.width_m(width_px, y_m) + 1e-3
    boxes = []
    for floor in range(rng.choice((2, 2, 3))):
        appearance = Appearance("box", width_px, base.sample_colour(base.sample_hue()))
        position = (rng.uniform(-0.04, 0.04), y_m)
        boxes.append(body(base, f"box {floor}", appearance, position, on_m=floor * floor_m, friction=0.7))
    balls = []
    if rng.bernoulli(0.6):
        appearance, side = sample_appearance(base, "sphere"), rng.side()
        speed = rng.uniform(1.6, 2.4) / base.video.slowdown
        balls = [passing_body(base, "ball", appearance, side, y_m, speed, base.video.duration_s * 0.5)]
    return base.scene.with_entities([*boxes, *balls])


def come_to_rest(base: BaseScene) -> Scene:
    """A body slides in and stops in full view, behind an occluder, or behind a screen that sinks."""
    rng, duration = base.rng, base.video.duration_s
    stop_s, cover = rng.uniform(0.42, 0.6) * duration, rng.choice(("open", "occluder", "screen", "screen", "screen"))
    rest_m = rng.uniform(-1.0, 1.0) if cover == "open" else rng.uniform(-0.18, 0.18)
    appearance = sample_appearance(base, rng.choice(sliding_shapes(base)))
    one = stopping_body(base, "one", appearance, rng.side(), (rest_m, rng.uniform(-0.1, 0.25)), stop_s)
    # both are sampled in every case, so that the random numbers after them are the same
    covers = {"open": [], "occluder": [central_occluder(base)], "screen": [sinking_screen(base)]}[cover]
    return base.scene.with_entities([*covers, *([one] if rng.bernoulli(0.8) else [])])


def turn_back(base: BaseScene) -> Scene:
    """A body bounces off a wall whose top shows above an occluder, or passes without a wall."""
    rng, appearance = base.rng, sample_appearance(base)
    y_m, side = rng.uniform(-0.1, 0.2), rng.side()
    width, speed = base.width_m(appearance.width_px, y_m), rng.uniform(1.6, 2.1) / base.video.slowdown
    wall_m = rng.uniform(-0.1, 0.1)
    start_m = wall_m + side * (speed * base.video.duration_s * rng.uniform(0.44, 0.56) + 0.1 + width / 2)
    one = frictionless_body(base, "one", appearance, side, (start_m, y_m), speed)
    walls = []
    if rng.bernoulli(0.7):
        walls = [wall(base, "wall between", wall_m, y_m, rng.uniform(1.45, 1.6), sample_wood_colour(base))]
    panel = [occluder(base, 0.0, rng.uniform(0.66, 1.05), rng.uniform(0.54, 0.62))] if rng.bernoulli(0.85) else []
    return base.scene.with_entities([*panel, *walls, one])


SCENARIOS: tuple[tuple[Callable[[BaseScene], Scene], float], ...] = (
    (pass_behind, 0.30),
    (come_to_rest, 0.10),
    (turn_back, 0.08),
    (wait_behind, 0.08),
    (pass_open, 0.06),
    (pass_aslant, 0.06),
    (meet_wall, 0.06),
    (cross_gap, 0.06),
    (drop, 0.06),
    (roll_down, 0.06),
    (strike, 0.06),
    (tower, 0.02),
)
"""Every scenario with its probability.

The names of the functions are the labels in the manifests, so they stay as they are.
"""


def sample_possible_scene(
    video: VideoFormat, *key: object, levels: tuple[int, ...] = (1, 2), unseen: bool = False
) -> tuple[str, Scene]:
    """The name of a random scenario and a scene that it samples."""
    rng = KeyedRandom(*key)
    base = sample_base_scene(rng, video, rng.choice(levels), unseen=unseen)
    weights = np.array([weight for _, weight in SCENARIOS])
    stream = rng.stream("act")  # hashed: the name must stay
    scenario = SCENARIOS[int(stream.choice(len(SCENARIOS), p=weights / weights.sum()))][0]
    return scenario.__name__, scenario(base)


def sample_possible_video(video: VideoFormat, *key: object, levels: tuple[int, ...]) -> tuple[str, RenderedVideo]:
    """The name of a random scenario, and a video of it."""
    scenario, scene = sample_possible_scene(video, *key, levels=levels)
    return scenario, render_video(scene, video)


def _optional_screen(base: BaseScene, half_width_m: float, half_height_m: float = 0.62, up: float = 0.21) -> list[Entity]:
    """Mostly a screen that rises early and stays up; sometimes it sinks again, or there is none.

    up: when the screen is up, as a fraction of the video.
    """
    rng, duration = base.rng, base.video.duration_s
    if rng.bernoulli(0.3):
        return []
    down_s = rng.uniform(0.6, 0.8) * duration if rng.bernoulli(0.25) else None
    move_s = 0.8 * up * duration
    return [screen(base, up * duration, down_s, half_width_m=half_width_m, half_height_m=half_height_m, move_s=move_s)]
