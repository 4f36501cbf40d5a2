"""Collision: a disc that is struck moves, and one that is not struck stays. The magnitude is the striker's speed over 2 m/s."""

from __future__ import annotations

from data_prep.physics.motion import launched, resting, until_wall
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.flat.base_scene import FlatBase
from data_prep.physics.worlds.flat.entities import screen
from data_prep.physics.worlds.flat.quadruplets import FlatProperty, FlatTemplate
from data_prep.physics.worlds.flat.scenes import FlatScene

SPEED_FACTORS = (0.95, 1.05, 1.15)


def _launch(base: FlatBase) -> ScenePair[FlatScene]:
    """A screen covers a disc at rest. Another disc of equal mass hits it, or none does.

    The first disc takes over the whole speed of the second one, which stops.
    """
    rng, duration = base.rng, base.video.duration_s
    factor, side = rng.choice(SPEED_FACTORS), rng.side()
    speed, width_px = factor * 2.1 / base.video.slowdown, rng.uniform(11.2, 11.8)
    hue = base.sample_hue()
    struck, striker = (base.sample_appearance("disc", own, width_px) for own in (hue, base.sample_hue(hue)))
    rest_m, hit_s = -side * rng.uniform(0.15, 0.25), duration * rng.uniform(0.52, 0.56)
    z_m, contact_m = struck.half_m, rest_m + side * 2 * struck.half_m
    hiding = screen(base, 0.21 * duration, half_width_m=1.1, move_s=0.17 * duration)
    moved = launched(rest_m, z_m, hit_s, -side * speed, "striker")
    approach = until_wall(side, speed, hit_s, contact_m, z_m, "struck", bounces=False)
    return ScenePair(
        base.scene.with_entities([struck.body("struck", moved), striker.body("striker", approach), hiding]),
        base.scene.with_entities([struck.body("struck", resting(rest_m, z_m)), hiding]),
        factor,
    )


COLLISION = FlatProperty("collision", (FlatTemplate("launch", _launch, "neutral"),))
