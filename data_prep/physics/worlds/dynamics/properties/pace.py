"""Pace: one of two equal discs is fast and the other one is slow. Which of them is the fast one now?

The discs have equal mass, and move between two walls. When they meet, they exchange their
velocities: each is fast and slow in turn. Their coordinates on the free way between the walls, from
0 to 1, are those of two points that pass through each other. The fast point goes to and fro twice
in a period, and the slow one once. A third of a period later, the two points have exchanged places
and directions, so the discs look the same but the other one is fast. The magnitude is the ratio of
speeds, 2.
"""

from __future__ import annotations

from math import ceil, floor

from data_prep.physics.motion import Path, Segment
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase, Timing
from data_prep.physics.worlds.dynamics.properties._hidden_times import with_hidden_times
from data_prep.physics.worlds.dynamics.properties._to_and_fro import WALLS, two_walls
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

NAMES = ("left disc", "right disc")
TIMINGS = (Timing(seen=6, hidden=2), Timing(seen=6, hidden=4))
"""The period is longer than that of the other templates, so that the fast disc can be followed. A third of it is hidden, or
two thirds, so that the picture of one outcome becomes that of the other one."""
FAST, SLOW = 4.0, 2.0  # change of the phase in a period; it is 2 on the way to a wall and back


def _two_discs(base: DynamicsBase) -> ScenePair[LookAwayScene]:
    """In the last frame the discs move towards each other. The left one is fast, or the right one."""
    rng = base.rng
    appearance, y_m, way_m = sample_appearance(base.builtin, "cylinder"), rng.uniform(0.0, 0.2), rng.uniform(0.84, 0.92)
    phase, mirrored = rng.uniform(0.485, 0.525), rng.bernoulli(0.5)
    width_m = base.builtin.width_m(appearance.width_px, y_m)
    reach_m = way_m / 2 + width_m
    discs = [body(base.builtin, name, appearance, (0.0, y_m)) for name in NAMES]
    entities = [*two_walls(base, -reach_m, reach_m, y_m, 1.1 * width_m), base.sudden_screen(), *discs]

    def scene(fast: float, slow: float) -> LookAwayScene:
        """The phases are those in the last frame before the screen, modulo 2. Up to 1, a point moves away from 0."""
        paths = _paths(base, fast + mirrored, slow + mirrored, way_m, width_m)
        return base.finished(entities, dict(zip(NAMES, paths, strict=True)))

    return ScenePair(scene(fast=phase, slow=phase + 2 / 3), scene(fast=phase + 2 / 3, slow=phase), 2.0)


def _paths(base: DynamicsBase, fast: float, slow: float, way_m: float, width_m: float) -> tuple[Path, Path]:
    """The paths of the left and the right disc, from the phases of both points in the last frame before the screen."""
    period_s, until_s = base.timing.seen * base.quarter / base.video.fps, base.video.duration_s
    fast_rate, slow_rate = (rate / period_s for rate in (FAST, SLOW))
    fast, slow = fast - fast_rate * base.last_seen_s, slow - slow_rate * base.last_seen_s  # at the start of the video

    def times_s(phase: float, rate: float, step: float) -> list[float]:
        """When a phase is a multiple of a step."""
        first, last = ceil(phase / step), floor((phase + rate * until_s) / step)
        return [(number * step - phase) / rate for number in range(first, last + 1)]

    meetings = {*times_s(fast - slow, fast_rate - slow_rate, 2.0), *times_s(fast + slow, fast_rate + slow_rate, 2.0)}
    at_walls = {*times_s(fast, fast_rate, 1.0), *times_s(slow, slow_rate, 1.0)}
    starts = sorted({0.0, *meetings, *at_walls})
    left: list[Segment] = []
    right: list[Segment] = []
    for start_s, stop_s in zip(starts, [*starts[1:], until_s], strict=True):
        phases = ((fast + fast_rate * time_s, slow + slow_rate * time_s) for time_s in (start_s, stop_s))
        before, after = (sorted(min(phase % 2, 2 - phase % 2) for phase in both) for both in phases)
        hits_left, hits_right = "", ""
        if start_s in meetings:
            hits_left, hits_right = NAMES[1], NAMES[0]
        elif start_s in at_walls:
            hits_left, hits_right = (WALLS[0], "") if before[0] < 1 - before[1] else ("", WALLS[1])
        for path, index, hits in ((left, 0, hits_left), (right, 1, hits_right)):
            x_m = (before[index] - 0.5) * way_m + (index - 0.5) * width_m
            velocity_m_s = (after[index] - before[index]) * way_m / (stop_s - start_s) if stop_s > start_s else 0.0
            path.append(Segment(start_s, (x_m, 0.0), (velocity_m_s, 0.0), hits=hits))
    return tuple(left), tuple(right)


PACE = DynamicsProperty("pace", with_hidden_times("two_discs", _two_discs, TIMINGS))
