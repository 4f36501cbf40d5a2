"""Number: as many bodies are there when the screens sink as fell behind them. All look alike.

The magnitude is the larger number of the two scenes. With one body, the question is permanence.
"""

from __future__ import annotations

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.memory.base_scene import MemoryBase, MemoryScene
from data_prep.physics.worlds.memory.properties._factors import crossed
from data_prep.physics.worlds.memory.quadruplets import MemoryProperty


def _one_less(base: MemoryBase, count: int, hidden_s: float) -> ScenePair[MemoryScene]:
    """`count` bodies, or all but one of them."""
    things = dict(zip(base.sample_places(count), base.sample_alike(count), strict=True))
    missing = base.rng.choice(tuple(things))
    fewer = {place: thing for place, thing in things.items() if place != missing}
    return ScenePair(base.finished(things, hidden_s), base.finished(fewer, hidden_s), float(count))


NUMBER = MemoryProperty("number", crossed(_one_less, (1, 2, 3, 4)))
