"""Impact: a disc moves between a wall and another disc, which it strikes. Is the other disc struck next?

The two discs have equal mass, so the struck one takes over the whole speed. It comes back from a
wall and strikes the first one. The magnitude is the length of a disc's path, in widths.

After half a period the discs have exchanged their roles, and no outcome becomes the other one. So
there are four hidden times, one for each quarter of the period. After 4 and 6 quarters the first
frame looks the same in both outcomes, and the discs move in opposite directions.
"""

from __future__ import annotations

import numpy as np

from data_prep.physics.motion import Path, Segment
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase, Timing
from data_prep.physics.worlds.dynamics.properties._hidden_times import with_hidden_times
from data_prep.physics.worlds.dynamics.properties._to_and_fro import WALLS, two_walls
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

TIMINGS = tuple(Timing(hidden) for hidden in (3, 5, 4, 6))


def _discs(base: DynamicsBase) -> ScenePair[LookAwayScene]:
    """In the last frame the first disc is on its way to the other one, or to the wall."""
    rng, side = base.rng, base.rng.side()
    appearance, y_m, path_m = sample_appearance(base.builtin, "cylinder"), rng.uniform(0.0, 0.2), rng.uniform(0.34, 0.4)
    width_m = base.builtin.width_m(appearance.width_px, y_m)
    # the first disc rests at -side * width / 2 and moves away from the middle, the other one likewise on its side
    names = ("first", "second")
    rests_m = (-side * width_m / 2, side * width_m / 2)
    discs = [body(base.builtin, name, appearance, (x_m, y_m)) for name, x_m in zip(names, rests_m, strict=True)]
    reach_m = path_m + width_m
    entities = [*two_walls(base, -reach_m, reach_m, y_m, 1.1 * width_m), base.sudden_screen(), *discs]
    quarter_s, half_frame_s = base.period_s / 4, base.period_s / 8
    until_s = base.video.duration_s

    def scene(strike_s: float) -> LookAwayScene:
        """The first disc strikes the second one at this time, and every period before and after it."""
        walls = WALLS if side > 0 else WALLS[::-1]
        paths = {}
        for name, other, rest_m, own_wall, away, start_s in (
            ("second", "first", rests_m[1], walls[1], side, strike_s),
            ("first", "second", rests_m[0], walls[0], -side, strike_s + 2 * quarter_s),
        ):
            paths[name] = _out_and_back(rest_m, away * path_m, start_s, quarter_s, until_s, own_wall, other)
        return base.finished(entities, paths)

    towards, away = scene(base.last_seen_s + half_frame_s), scene(base.last_seen_s - half_frame_s - 2 * quarter_s)
    return ScenePair(towards, away, path_m / width_m)


def _out_and_back(
    rest_m: float, path_m: float, start_s: float, quarter_s: float, until_s: float, wall: str, other: str
) -> Path:
    """Struck at `start_s` and every period: out to a wall in a quarter, back in another, and at rest for two."""
    period_s, speed = 4 * quarter_s, path_m / quarter_s
    start_s -= period_s * np.ceil(start_s / period_s + 1)
    segments = []
    while start_s < until_s:
        segments.append(Segment(start_s, (rest_m, 0.0), (speed, 0.0), hits=other))
        segments.append(Segment(start_s + quarter_s, (rest_m + path_m, 0.0), (-speed, 0.0), hits=wall))
        segments.append(Segment(start_s + 2 * quarter_s, (rest_m, 0.0), hits=other))
        start_s += period_s
    return tuple(segments)


IMPACT = DynamicsProperty("impact", with_hidden_times("discs", _discs, TIMINGS))
