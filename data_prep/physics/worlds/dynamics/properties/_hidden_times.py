"""The same scenes with either hidden time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.dynamics.base_scene import TIMINGS, DynamicsBase, Timing
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsTemplate
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

Sample = Callable[[DynamicsBase], ScenePair[LookAwayScene]]


def with_hidden_times(
    name: str, sample: Sample, timings: tuple[Timing, ...] = TIMINGS, min_fps: float = 0.0
) -> tuple[DynamicsTemplate, ...]:
    """A template for each hidden time.

    Templates are used in turn before the level changes, so an even number of quadruplets has each
    hidden time equally often at each level.
    """
    return tuple(
        DynamicsTemplate(
            f"{name}_{timing.hidden}_quarters", partial(_timed, sample=sample, timing=timing), "neutral", min_fps=min_fps
        )
        for timing in timings
    )


def _timed(base: DynamicsBase, sample: Sample, timing: Timing) -> ScenePair[LookAwayScene]:
    return sample(replace(base, timing=timing))
