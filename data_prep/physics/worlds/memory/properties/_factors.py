"""The factors of every question: how many bodies, and for how long they are hidden."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.memory.base_scene import MemoryScene, min_duration_s
from data_prep.physics.worlds.memory.quadruplets import MemoryTemplate

HIDDEN_S = (0.5, 1.0, 2.0)


def crossed(sample: Callable[..., ScenePair[MemoryScene]], counts: tuple[int, ...]) -> tuple[MemoryTemplate, ...]:
    """A template for each number of bodies and each time for which they are hidden.

    sample: takes the base scene, `count` and `hidden_s`.
    """
    return tuple(
        MemoryTemplate(
            f"{count}_for_{hidden_s:g}_s",
            partial(sample, count=count, hidden_s=hidden_s),
            "neutral",
            min_duration_s=min_duration_s(hidden_s),
        )
        for count in counts
        for hidden_s in HIDDEN_S
    )
