"""Inertia: a body on which nothing acts keeps its speed. The magnitude is the ratio of the speeds, 0 for a halt."""

from __future__ import annotations

from data_prep.physics.motion import passing, stopping
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.flat.base_scene import FlatBase
from data_prep.physics.worlds.flat.entities import central_occluder
from data_prep.physics.worlds.flat.properties._identity import sample_speed_and_time
from data_prep.physics.worlds.flat.quadruplets import FlatProperty, FlatTemplate
from data_prep.physics.worlds.flat.scenes import FlatScene

SPEED_RATIOS = (1.4, 1.6, 1.8)


def _pace(base: FlatBase) -> ScenePair[FlatScene]:
    """A body passes fast or slowly."""
    rng, side = base.rng, base.rng.side()
    ratio = rng.choice(SPEED_RATIOS)
    appearance = base.sample_appearance(width_px=rng.uniform(11.2, 11.7))
    slow, middle_s = rng.uniform(1.35, 1.45) / base.video.slowdown, base.video.duration_s * rng.uniform(0.48, 0.52)
    hiding = central_occluder(base)
    a, b = (
        base.scene.with_entities([appearance.body("one", passing(side, speed, middle_s, appearance.standing_m)), hiding])
        for speed in (slow, slow * ratio)
    )
    return ScenePair(a, b, ratio)


def _halt(base: FlatBase) -> ScenePair[FlatScene]:
    """A body passes at constant speed, or slows down visibly and stops behind the occluder."""
    appearance, side = base.sample_appearance(), base.rng.side()
    speed, middle_s = sample_speed_and_time(base)
    # it stops when the other one passes the middle, or soon after, so that their speeds differ clearly there
    rest_m, stop_s = base.rng.uniform(-0.1, 0.1), middle_s + base.video.duration_s * base.rng.uniform(0.0, 0.05)
    hiding = central_occluder(base)
    a, b = (
        base.scene.with_entities([appearance.body("one", path), hiding])
        for path in (
            passing(side, speed, middle_s, appearance.standing_m),
            stopping(side, rest_m, stop_s, appearance.standing_m),
        )
    )
    return ScenePair(a, b, 0.0)


INERTIA = FlatProperty("inertia", (FlatTemplate("pace", _pace, "neutral"), FlatTemplate("halt", _halt, "neutral")))
