"""Collision: a body that is struck moves, and one that is not struck stays.

The magnitude is the striker's speed over 2 m/s.
"""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.quadruplets import Property, ScenePair, Template
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.object_sampling import colliding_discs, sample_appearance
from data_prep.physics.worlds.builtin.occluders import screen
from data_prep.physics.worlds.builtin.scenes import Entity, Scene
from data_prep.physics.worlds.builtin.structures import sample_wood_colour, wall

SPEED_FACTORS = (0.95, 1.05, 1.15)


def _launch(base: BaseScene) -> ScenePair[Scene]:
    """A screen hides a disc at rest. Another disc hits it, or none does.

    If it is hit, it comes out from behind the screen.
    """
    duration = base.video.duration_s
    factor, side = base.rng.choice(SPEED_FACTORS), base.rng.side()
    struck, striker = _discs(base, side, factor, arrival_s=0.56 * duration, offset_m=0.3)
    hiding = screen(base, 0.21 * duration, half_width_m=0.92, half_height_m=0.62, move_s=0.17 * duration)
    shared = base.scene.with_entities([hiding, struck])
    return ScenePair(shared.with_entities([striker]), shared, factor)


def _in_sight(base: BaseScene) -> ScenePair[Scene]:
    """A disc runs into another disc, or into a wall between them."""
    factor, side = base.rng.choice(SPEED_FACTORS), base.rng.side()
    struck, striker = _discs(base, side, factor, arrival_s=0.5 * base.video.duration_s)
    width, y_m = struck.size_m[0] * 2, struck.position_m[1]
    between = wall(base, "plate", side * (width / 2 + 0.13), y_m, 1.1 * width, sample_wood_colour(base), half_depth_m=0.3)
    shared = base.scene.with_entities([struck, striker])
    return ScenePair(shared, shared.with_entities([between]), factor)


def _discs(base: BaseScene, side: int, factor: float, arrival_s: float, offset_m: float = 0.0) -> tuple[Entity, Entity]:
    """A disc at rest `offset_m` beyond the middle, and one that hits it at `arrival_s`."""
    y_m, speed = base.rng.uniform(0.0, 0.2), factor * 2.0 / base.video.slowdown
    hue = base.sample_hue()
    struck, striker = (
        replace(sample_appearance(base, "cylinder"), colour=base.sample_colour(own_hue), width_px=11.2)
        for own_hue in (hue, base.sample_hue(hue))
    )
    width = base.width_m(struck.width_px, y_m)
    rest_m = -side * offset_m
    start_m = rest_m + side * (speed * arrival_s + width)
    return colliding_discs(base, (struck, striker), width, (rest_m, y_m), (start_m, y_m), -side * speed)


COLLISION = Property(
    "collision",
    (
        Template("launch", _launch, "neutral"),
        Template("blow_in_sight", _in_sight, "neutral", "visible"),
    ),
)
