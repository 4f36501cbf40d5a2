"""Pairs of scenes in which a body moves on, with one of two appearances, while the video looks away.

Between the last and the first frame that show it, the body moves by more than its width. So the
pixels in which the two scenes differ before and after do not overlap, and a scorer that assumes
that the world stood still gains on one pair of a quadruplet what it loses on another.
"""

from __future__ import annotations

from collections.abc import Callable

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import Appearance
from data_prep.physics.worlds.lookaway.base_scene import LookAwayBase, uniform
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

Bodies = tuple[Appearance, Appearance | None]


def moves_on(sample: Callable[[LookAwayBase], tuple[Bodies, float]]) -> Callable[[LookAwayBase], ScenePair[LookAwayScene]]:
    """A body crosses in one scene; in the other another body does, or none.

    sample: gives the two appearances and the magnitude.
    """

    def pair(base: LookAwayBase) -> ScenePair[LookAwayScene]:
        bodies, magnitude = sample(base)
        side, y_m = base.rng.side(), base.rng.uniform(-0.1, 0.25)
        path = uniform(-side * base.speed(1.8, 1.95), base.middle_s)
        a, b = (
            base.finished(*([(base.body(name, appearance, 0.0, y_m), path)] if appearance else []))
            for name, appearance in zip(("one", "other"), bodies, strict=True)
        )
        return ScenePair(a, b, magnitude)

    return pair
