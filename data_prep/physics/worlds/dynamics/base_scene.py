"""The base scene of the dynamics world, and its two kinds of hiding.

Bodies move periodically in full view for one period, so that the contexts of a quadruplet hold the
same frames in another order. Then a screen rises within one frame. The first and the last frame of
that period are equal in both contexts.

How long the screen is up alternates. A body that is opposite to its last seen motion after one
hidden time is along it after the other one, so that a scorer that keeps the last velocity is right
in half of the quadruplets. Whatever the hidden time, the screen sinks at the same frame, so that the
videos show the outcome for equally long. The screen is also up in the first frames, for longer where
the hidden time is shorter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.motion import GRAVITY_M_S2, Path, Segment
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import SCREEN_Y_M, BaseScene
from data_prep.physics.worlds.builtin.occluders import screen
from data_prep.physics.worlds.builtin.scenes import Entity
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene, Turning

PERIOD_S = 2 / 3
REVEAL_QUARTERS = 10  # from the start of the video to the first frame after the screen: 20 frames at 12 frames/s


@dataclass(frozen=True)
class Timing:
    """For how long bodies are seen and then hidden, in quarters of `DynamicsBase.period_s`."""

    hidden: int  # from the last frame before the screen to the first one after it
    seen: int = 4  # a whole period of the motion, which ends with the last frame before the screen

    @property
    def first_seen(self) -> int:
        """From the start of the video to the first seen frame. The screen is up until then."""
        return REVEAL_QUARTERS - self.hidden - self.seen


TIMINGS = (Timing(hidden=3), Timing(hidden=5))
"""The hidden times differ by half a period, so that one outcome becomes the other one."""


@dataclass(frozen=True)
class DynamicsBase:
    """A scene under construction."""

    builtin: BaseScene
    timing: Timing = TIMINGS[0]

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
    def stretch(self) -> float:
        """How much longer the period is than PERIOD_S, because it is a whole number of frames."""
        return self.period_s / PERIOD_S

    @property
    def last_seen_s(self) -> float:
        """The time of the last frame before the screen."""
        return (self.timing.first_seen + self.timing.seen) * self.quarter / self.video.fps

    def sudden_screen(self, top_m: float = 0.0, back_m: float = 0.0) -> Entity:
        """A screen that rises and sinks within one frame, so that no frame shows half of it.

        It is up before the first seen frame, and again between the last seen frame and the outcome.
        It is high enough to hide what is `top_m` high at y = `back_m`.
        """
        first, last = (quarters * self.quarter for quarters in (self.timing.first_seen, REVEAL_QUARTERS - self.timing.hidden))
        sunk_s, up_s, down_s = ((frame - 0.1) / self.video.fps for frame in (first, last + 1, REVEAL_QUARTERS * self.quarter))
        move_s = 0.8 / self.video.fps
        width, height = self.rng.uniform(0.95, 1.05), self.rng.uniform(0.62, 0.68)
        _, eye_y_m, eye_z_m = self.builtin.scene.camera.position_m
        hidden_m = eye_z_m + (top_m - eye_z_m) * (SCREEN_Y_M - eye_y_m) / (back_m - eye_y_m)
        height = max(height, hidden_m / 2 + 0.04)
        later = screen(self.builtin, up_s, down_s - move_s, half_width_m=width, half_height_m=height, move_s=move_s)
        (_, down), (_, up), *_ = later.path
        return replace(later, path=((sunk_s - move_s, up), (sunk_s, down), *later.path))

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
