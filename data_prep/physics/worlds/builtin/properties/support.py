"""Support: a body with nothing under it falls.

The magnitude is the width of the gap or the height of the pillar, in widths.
"""

from __future__ import annotations

from functools import partial

from data_prep.physics.quadruplets import Property, ScenePair, Template
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.bodies import body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance, sliding_shapes
from data_prep.physics.worlds.builtin.occluders import screen
from data_prep.physics.worlds.builtin.scenes import Scene
from data_prep.physics.worlds.builtin.structures import pillar, sample_wood_colour, tables_and_bridge

GAP_RATIOS = (1.5, 1.7, 1.9)


def _bridge(base: BaseScene, *, hidden: bool = True) -> ScenePair[Scene]:
    """Two tables with a bridge between them, or with a gap.

    A screen hides the gap, and a body slides towards it.
    """
    rng, duration = base.rng, base.video.duration_s
    ratio, appearance, side = rng.choice(GAP_RATIOS), sample_appearance(base), rng.side()
    y_m, height = 0.15, rng.uniform(0.38, 0.46)
    speed = rng.uniform(1.95, 2.1) / base.video.slowdown
    start = (side * speed * duration * rng.uniform(0.55, 0.59), y_m)
    one = body(base, "one", appearance, start, on_m=height, velocity_m_s=(-side * speed, 0.0, 0.0))
    half_gap = ratio * base.width_m(appearance.width_px, y_m) / 2
    left, right, bridge = tables_and_bridge(base, half_gap, y_m, height)
    hiding = [screen(base, 0.21 * duration, half_width_m=0.72, half_height_m=0.66, move_s=0.17 * duration)] if hidden else []
    shared = base.scene.with_entities([left, right, *hiding, one])
    return ScenePair(shared.with_entities([bridge]), shared, ratio)


def _pillar(base: BaseScene) -> ScenePair[Scene]:
    """A screen hides a pillar, or nothing, and a body drops on it.

    With a pillar, the body stays visible above the screen. Without one, it falls behind the screen.
    """
    rng, duration = base.rng, base.video.duration_s
    appearance = sample_appearance(base, rng.choice(sliding_shapes(base)))
    y_m, height = rng.uniform(0.0, 0.15), rng.uniform(0.68, 0.76)
    width = base.width_m(appearance.width_px, y_m)
    support = pillar(base, 0.0, y_m, height, sample_wood_colour(base))
    bottom_m = rng.uniform(2.4, 2.5) - width / 2
    rise_m_s = rng.uniform(0.9, 1.2) + 1.6 * (duration - 2) * (duration > 2)
    one = body(base, "one", appearance, (0.0, y_m), on_m=bottom_m, velocity_m_s=(0.0, 0.0, rise_m_s), friction=0.8)
    hiding = screen(base, 0.15 * duration, half_width_m=0.62, half_height_m=0.5, move_s=0.12 * duration)
    shared = base.scene.with_entities([hiding, one])
    return ScenePair(shared.with_entities([support]), shared, height / width)


SUPPORT = Property(
    "support",
    (
        Template("bridge", _bridge, "neutral"),
        Template("pillar", _pillar, "neutral"),
        Template("bridge_in_sight", partial(_bridge, hidden=False), "neutral", "visible"),
    ),
)
