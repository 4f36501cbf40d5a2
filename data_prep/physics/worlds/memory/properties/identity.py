"""Identity: every body is where it fell. In the two scenes, two of the bodies have changed places.

The bodies differ in hue and often in shape. The magnitude is their number.
"""

from __future__ import annotations

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.memory.base_scene import MemoryBase, MemoryScene
from data_prep.physics.worlds.memory.properties._factors import crossed
from data_prep.physics.worlds.memory.quadruplets import MemoryProperty


def _two_swapped(base: MemoryBase, count: int, hidden_s: float) -> ScenePair[MemoryScene]:
    """The places are in random order, so the first two of them are any two."""
    one, other, *rest = base.sample_places(count)
    things = base.sample_different(count)
    a, b = (
        base.finished(dict(zip(places, things, strict=True)), hidden_s) for places in ([one, other, *rest], [other, one, *rest])
    )
    return ScenePair(a, b, float(count))


IDENTITY = MemoryProperty("identity", crossed(_two_swapped, (2, 3, 4)))
