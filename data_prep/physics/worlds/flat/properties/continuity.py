"""Continuity: bodies move on connected paths. The magnitude is the length of a jump, in widths of the body."""

from __future__ import annotations

from functools import partial

from data_prep.physics.motion import passing
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.flat.base_scene import Appearance, FlatBase
from data_prep.physics.worlds.flat.entities import central_occluder, shelf
from data_prep.physics.worlds.flat.properties._identity import sample_speed_and_time
from data_prep.physics.worlds.flat.properties._sides import either_side
from data_prep.physics.worlds.flat.quadruplets import FlatProperty, FlatTemplate
from data_prep.physics.worlds.flat.scenes import FlatScene


def _floors(base: FlatBase) -> ScenePair[FlatScene]:
    """A body passes on the floor, or on a shelf above it."""
    appearance, side = base.sample_appearance(), base.rng.side()
    speed, middle_s = sample_speed_and_time(base)
    height_m = base.rng.uniform(1.15, 1.5)
    board, hiding = shelf(base, height_m), central_occluder(base, height_m + 1.05)
    floor, upper = (
        base.scene.with_entities(
            [board, appearance.body("one", passing(side, speed, middle_s, on_m + appearance.standing_m, stands_on)), hiding]
        )
        for on_m, stands_on in ((0.0, ""), (height_m, "shelf"))
    )
    return ScenePair(floor, upper, height_m / (2 * appearance.half_m))


def _same_appearance(base: FlatBase) -> tuple[Appearance, Appearance]:
    appearance = base.sample_appearance()
    return appearance, appearance


CONTINUITY = FlatProperty(
    "continuity",
    (
        FlatTemplate("turned_back", partial(either_side, sample=_same_appearance, walled=True), "easy"),
        FlatTemplate("exit_side", partial(either_side, sample=_same_appearance, walled=False), "hard"),
        FlatTemplate("floors", _floors, "neutral"),
        FlatTemplate("floors", _floors, "neutral"),  # twice, so that half of the quadruplets are neutral
    ),
)
