"""The base scene of the memory world: bodies fall behind one or two screens, which sink after a given time.

A body is seen in the upper half of the picture before it is hidden, and on the floor afterwards. So
where it is seen before and where it is seen afterwards do not overlap, however long it is hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.quadruplets import InvalidSample, TooShortSample
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import BaseScene, sample_base_scene
from data_prep.physics.worlds.builtin.bodies import Appearance, body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.builtin.occluders import screen
from data_prep.physics.worlds.builtin.scenes import Entity, Scene

PLACES_M = (-1.06, -0.42, 0.42, 1.06)  # x at which bodies fall; two of them behind each of two screens
BOTTOM_M = 2.2  # height at which bodies start, at the upper edge of the picture
WIDTH_PX = (10.3, 10.6)  # four bodies of this width fit side by side
FALLEN_S = 0.65  # about when all bodies are hidden
MOVE_S, REVEALING_S = 0.25, 0.08  # how long a screen sinks, and about when it begins to show bodies meanwhile
SHOWN_S = 0.4  # at least so long is seen what was hidden
HUE_GAPS = (0.1, 0.07, 0.05, 0.03)


def min_duration_s(hidden_s: float) -> float:
    """Length of the shortest video in which bodies can be hidden for so long."""
    return FALLEN_S + hidden_s - REVEALING_S + MOVE_S + SHOWN_S


@dataclass(frozen=True)
class Thing:
    """A body: its name in the ground truth, and what it looks like."""

    name: str
    appearance: Appearance


@dataclass(frozen=True)
class MemoryScene:
    """A scene, and how long its bodies are hidden."""

    scene: Scene
    hidden_s: float

    def with_later_screens(self, delay_s: float) -> MemoryScene:
        """The same scene, whose screens sink later."""
        entities = tuple(_later(entity, delay_s) if entity.path else entity for entity in self.scene.entities)
        return replace(self, scene=replace(self.scene, entities=entities))


@dataclass(frozen=True)
class MemoryBase:
    """A scene under construction."""

    builtin: BaseScene
    y_m: float  # at which all bodies fall
    rises_m_s: tuple[float, ...]  # velocity upwards with which a body starts, by place
    half_heights_m: tuple[float, ...]  # of the screens: one or two

    @property
    def rng(self) -> KeyedRandom:
        return self.builtin.rng

    def finished(self, things: Mapping[int, Thing], hidden_s: float) -> MemoryScene:
        """The scene with these bodies, by place.

        The screens sink after about `hidden_s`. Raises InvalidSample where the video is too short for that.
        """
        base, down_s = self.builtin, FALLEN_S + hidden_s - REVEALING_S
        if min_duration_s(hidden_s) > base.video.duration_s:
            raise TooShortSample(f"the video is too short to hide bodies for {hidden_s:g} s")
        bodies = [
            body(
                base,
                thing.name,
                thing.appearance,
                (PLACES_M[place], self.y_m),
                on_m=BOTTOM_M,
                velocity_m_s=(0.0, 0.0, self.rises_m_s[place]),
                rolls=False,
                friction=0.8,
            )
            for place, thing in things.items()
        ]
        return MemoryScene(base.scene.with_entities([*self._screens(down_s), *bodies]), hidden_s)

    def _screens(self, down_s: float) -> list[Entity]:
        """One wide screen, or two beside each other, up from the first frame on."""
        if len(self.half_heights_m) == 1:
            sizes = [("screen", 0.0, 1.27)]
        else:
            sizes = [("left screen", -0.66, 0.61), ("right screen", 0.66, 0.61)]
        return [
            screen(self.builtin, -1.0, down_s, x_m=x_m, half_width_m=half_width, half_height_m=height, move_s=MOVE_S, name=name)
            for (name, x_m, half_width), height in zip(sizes, self.half_heights_m, strict=True)
        ]

    def sample_places(self, count: int) -> list[int]:
        """Different places in random order."""
        return [int(place) for place in self.rng.geometry.permutation(len(PLACES_M))[:count]]

    def sample_alike(self, count: int) -> list[Thing]:
        """Bodies that look the same."""
        appearance = replace(sample_appearance(self.builtin), width_px=self.rng.uniform(*WIDTH_PX))
        return [Thing(f"body {number}", appearance) for number in range(count)]

    def sample_different(self, count: int) -> list[Thing]:
        """Bodies of different hues, and of any shapes."""
        return [
            Thing(f"body {number}", replace(sample_appearance(self.builtin, hue=hue), width_px=self.rng.uniform(*WIDTH_PX)))
            for number, hue in enumerate(_sample_hues(self.builtin, count))
        ]


def sample_memory_base(rng: KeyedRandom, video: VideoFormat, level: int, *, unseen: bool = False) -> MemoryBase:
    """A random scene without bodies. Camera and lamp are in the middle, so that the screens hide all four places."""
    builtin = sample_base_scene(rng, video, level, unseen=unseen).centred()
    rises_m_s = tuple(rng.uniform(0.0, 0.9) for _ in PLACES_M)
    half_heights_m = tuple(rng.uniform(0.5, 0.56) for _ in range(rng.choice((1, 2))))
    return MemoryBase(builtin, rng.uniform(0.0, 0.1), rises_m_s, half_heights_m)


def _sample_hues(base: BaseScene, count: int) -> list[float]:
    """Hues as far apart as the wall and the screens leave room for."""
    for gap in HUE_GAPS:
        hues: list[float] = []
        try:
            for _ in range(count):
                hues.append(base.sample_hue(*hues, min_gap=gap))
        except RuntimeError:
            continue
        return hues
    raise InvalidSample(f"no {count} different hues found")


def _later(entity: Entity, delay_s: float) -> Entity:
    """A screen that was up from the start, and sinks later."""
    *up, (start_s, top), (stop_s, below) = entity.path
    return replace(entity, path=(*up, (start_s + delay_s, top), (stop_s + delay_s, below)))
