"""Continuity: bodies move on connected paths while nobody looks. The magnitude is the length of a jump, in widths.

In both templates the two scenes are equal, pixel for pixel, in the last frame before looking away:
the bodies are at the same position there, at opposite velocities. So a scorer that assumes that the
world stood still makes the same forecast in both. A body that comes back to where it was seen
before is impossible in one template and possible in the other one, where walls turn it back. So
what a scorer gains in one that compares frames from before and after, it loses in the other. The
light is the cause in both: when a camera turns, it shows the body once more.
"""

from __future__ import annotations

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.builtin.structures import sample_wood_colour, wall
from data_prep.physics.worlds.lookaway.base_scene import LookAwayBase, to_and_fro, uniform
from data_prep.physics.worlds.lookaway.quadruplets import LookAwayProperty, LookAwayTemplate
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

WALL_HALF_WIDTH_M = 0.1
WALLS = ("left plate", "right plate")


def _backwards(base: LookAwayBase) -> ScenePair[LookAwayScene]:
    """A body moves slowly to the right, or to the left. Impossible: while nobody looked, it moved the other way."""
    base = base.with_light_out()
    appearance, y_m, speed = sample_appearance(base.builtin), base.rng.uniform(-0.1, 0.2), base.speed(0.6, 0.7)
    entity = base.body("one", appearance, 0.0, y_m)
    right, left = (base.finished((entity, uniform(velocity, base.last_seen_s))) for velocity in (speed, -speed))
    jump_m = 2 * speed * (base.away_s + 1 / base.video.fps)
    return ScenePair(right, left, jump_m / base.builtin.width_m(appearance.width_px, y_m))


def _stood_still(base: LookAwayBase) -> ScenePair[LookAwayScene]:
    """A body moves to and fro between two walls, and hits one of them while nobody looks.

    One scene is the other one, later by the time of looking away. Impossible: the world stood still
    while nobody looked.
    """
    base = base.with_light_out()
    appearance, y_m, speed = sample_appearance(base.builtin), base.rng.uniform(-0.1, 0.2), base.speed(1.5, 1.65)
    width_m, half_path_m = base.builtin.width_m(appearance.width_px, y_m), speed * base.away_s / 2
    wall_m = half_path_m + width_m / 2 + WALL_HALF_WIDTH_M
    colour = sample_wood_colour(base.builtin)
    walls = [
        (wall(base.builtin, name, side * wall_m, y_m, 1.1 * width_m, colour), None)
        for name, side in zip(WALLS, (-1, 1), strict=True)
    ]
    entity = base.body("one", appearance, 0.0, y_m)
    right, left = (
        base.finished(*walls, (entity, to_and_fro(velocity, base.last_seen_s, half_path_m, base.video.duration_s, WALLS)))
        for velocity in (speed, -speed)
    )
    return ScenePair(right, left, 2 * half_path_m / width_m)


CONTINUITY = LookAwayProperty(
    "continuity",
    (
        LookAwayTemplate("backwards", _backwards, "hard"),
        LookAwayTemplate("stood_still", _stood_still, "easy"),
    ),
)
