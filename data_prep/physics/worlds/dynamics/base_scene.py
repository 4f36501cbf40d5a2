"""The base scene of the dynamics world, and its two kinds of hiding.

Bodies move periodically in full view for one period, so that the contexts of a quadruplet hold the
same frames in another order. Then a screen rises within one frame. The first and the last frame
before it are equal in both contexts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.motion import GRAVITY_M_S2, Path, Segment
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.occluders import screen
from data_prep.physics.worlds.builtin.scenes import Entity
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene, Turning

PERIOD_S = 2 / 3
QUARTERS_HIDDEN = 3  # of a period from the last frame before the screen to the first one after it


@dataclass(frozen=True)
class DynamicsBase:
    """A scene under construction."""

    builtin: BaseScene

    @property
    def rng(self) -> KeyedRandom:
        return self.builtin.rng

    @property
    def video(self) -> VideoFormat:
        return self.builtin.video

    @property
    def quarter(self) -> int:
        """Frames of a quarter of a period. An even number, so that a half is a whole number of latent steps of two frames."""
        return 2 * max(round(PERIOD_S * self.video.fps / 8), 1)

    @property
    def period_s(self) -> float:
        return 4 * self.quarter / self.video.fps

    @property
    def last_seen_s(self) -> float:
        """The time of the last frame before the screen: one period after the first frame."""
        return self.period_s

    def sudden_screen(self, quarters_seen: int = 4) -> Entity:
        """A screen that rises and sinks within one frame, so that no frame shows half of it.

        It rises after the frame that is `quarters_seen` quarters of a period after the first one.
        """
        last = quarters_seen * self.quarter
        start, stop = ((frame - 0.1) / self.video.fps for frame in (last + 1, last + QUARTERS_HIDDEN * self.quarter))
        move_s = 0.8 / self.video.fps
        width, height = self.rng.uniform(0.95, 1.05), self.rng.uniform(0.62, 0.68)
        return screen(self.builtin, start, stop - move_s, half_width_m=width, half_height_m=height, move_s=move_s)

    def finished(
        self, entities: list[Entity], paths: Mapping[str, Path], turns: Mapping[str, Turning] | None = None
    ) -> LookAwayScene:
        """The scene with these entities, of which the free ones follow paths, and may turn. Nothing looks away in it."""
        return LookAwayScene(self.builtin.scene.with_entities(entities), None, paths, turns or {})


def bouncing_ball(x_m: float, period_s: float, floor_s: float, until_s: float) -> Path:
    """A perfectly elastic ball at x = `x_m` that hits the floor at `floor_s` and every `period_s` before and after it."""
    start_s = floor_s
    while start_s > 0:
        start_s -= period_s
    segments = []
    while start_s < until_s:
        rise = (0.0, GRAVITY_M_S2 * period_s / 2)
        segments.append(Segment(start_s, (x_m, 0.0), rise, (0.0, -GRAVITY_M_S2), supported=False, hits="floor"))
        start_s += period_s
    return tuple(segments)
