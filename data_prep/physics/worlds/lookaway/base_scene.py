"""The base scene of the look-away world: that of the built-in world, and the time of looking away."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.motion import Path, Segment
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.base_scene import sample_base_scene as sample_builtin_scene
from data_prep.physics.worlds.builtin.bodies import Appearance, body
from data_prep.physics.worlds.builtin.scenes import Entity
from data_prep.physics.worlds.lookaway.scenes import Cause, LookAway, LookAwayScene

CAUSES: tuple[Cause, ...] = ("light", "camera")


@dataclass(frozen=True)
class LookAwayBase:
    """A scene under construction."""

    builtin: BaseScene
    look_away: LookAway

    @property
    def rng(self) -> KeyedRandom:
        return self.builtin.rng

    @property
    def video(self) -> VideoFormat:
        return self.builtin.video

    @property
    def last_seen_s(self) -> float:
        """The time of the last frame before looking away."""
        return (self.look_away.start - 1) / self.video.fps

    @property
    def away_s(self) -> float:
        """How long the video looks away."""
        return (self.look_away.stop - self.look_away.start) / self.video.fps

    @property
    def middle_s(self) -> float:
        """The middle between the last frame before and the first frame after looking away."""
        return self.last_seen_s + (self.away_s + 1 / self.video.fps) / 2

    def speed(self, low_m_s: float, high_m_s: float) -> float:
        """A random speed. Longer videos are slower, so that bodies stay in the picture."""
        return self.rng.uniform(low_m_s, high_m_s) / self.video.slowdown

    def with_light_out(self) -> LookAwayBase:
        """The same with the light as the cause."""
        return replace(self, look_away=replace(self.look_away, cause="light"))

    def body(self, name: str, appearance: Appearance, x_m: float, y_m: float) -> Entity:
        """A body that stands on the floor at (x, y). It has this orientation wherever it passes x."""
        return body(self.builtin, name, appearance, (x_m, y_m))

    def finished(self, *entities: tuple[Entity, Path | None]) -> LookAwayScene:
        """The scene with these entities, and with paths for those that move."""
        scene = self.builtin.scene.with_entities([entity for entity, _ in entities])
        return LookAwayScene(scene, self.look_away, {entity.name: path for entity, path in entities if path is not None})


def sample_base_scene(rng: KeyedRandom, video: VideoFormat, level: int, *, unseen: bool = False) -> LookAwayBase:
    """A random scene without bodies, and a random time of looking away in the middle third."""
    builtin = sample_builtin_scene(rng, video, level, unseen=unseen)
    stream = rng.stream("look away")
    start = round(video.frames * stream.uniform(0.34, 0.4))
    stop = start + round(video.frames * 0.375)
    cause = CAUSES[int(stream.integers(len(CAUSES)))]
    return LookAwayBase(builtin, LookAway(cause, start, stop, int(stream.choice([-1, 1]))))


def uniform(velocity_m_s: float, at_s: float, x_m: float = 0.0) -> Path:
    """At constant velocity along x; at x = `x_m` at time `at_s`."""
    return (Segment(0.0, (x_m - velocity_m_s * at_s, 0.0), (velocity_m_s, 0.0)),)


def bouncing(velocity_m_s: float, hit_s: float, contact_m: float, wall: str) -> Path:
    """Towards a wall at this velocity, and back from it at the same speed from `hit_s` on, when it is at `contact_m`."""
    if hit_s <= 0:
        return uniform(-velocity_m_s, hit_s, contact_m)
    return (*uniform(velocity_m_s, hit_s, contact_m), Segment(hit_s, (contact_m, 0.0), (-velocity_m_s, 0.0), hits=wall))


def to_and_fro(velocity_m_s: float, at_s: float, half_path_m: float, until_s: float, walls: tuple[str, str]) -> Path:
    """To and fro between a left and a right wall, `half_path_m` to both sides of x = 0; at 0 at `at_s`."""
    quarter_s = half_path_m / abs(velocity_m_s)
    first = int(np.ceil((-at_s / quarter_s - 1) / 2))  # hits are at at_s + (2 n + 1) quarters
    path = list(uniform(velocity_m_s * (-1) ** first, at_s + 2 * first * quarter_s))
    for number in range(first, int((until_s - at_s) / quarter_s / 2) + 1):
        velocity = -velocity_m_s * (-1) ** number
        side = -1 if velocity > 0 else 1  # of the wall that it hits
        hit_s = at_s + (2 * number + 1) * quarter_s
        path.append(Segment(hit_s, (side * half_path_m, 0.0), (velocity, 0.0), hits=walls[side > 0]))
    return tuple(path)
