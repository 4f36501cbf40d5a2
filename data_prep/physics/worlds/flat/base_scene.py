"""The base scene of the flat world: a background and random looks. Templates add entities to it."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

from data_prep.physics.hues import hue_gap
from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.motion import Path
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.flat.rasteriser import PICTURE_M
from data_prep.physics.worlds.flat.scenes import (
    Background,
    BackgroundKind,
    BodyShape,
    Colour,
    FlatEntity,
    FlatScene,
    OccluderShape,
    Pattern,
)
from data_prep.physics.worlds.flat.shapes import ABOVE, BELOW

SHAPES: tuple[BodyShape, ...] = ("disc", "square", "triangle", "star")
UNSEEN_SHAPES: tuple[BodyShape, ...] = ("pentagon", "cross")
OCCLUDERS: tuple[OccluderShape, ...] = ("box", "rounded", "ellipse", "trapezoid")
UNSEEN_OCCLUDERS: tuple[OccluderShape, ...] = ("house", "hill")
PATTERNS: tuple[Pattern, ...] = ("plain", "stripes", "bands", "dot")
UNSEEN_PATTERNS: tuple[Pattern, ...] = ("checker", "rings")
BACKGROUNDS: dict[int, tuple[BackgroundKind, ...]] = {1: ("plain", "gradient"), 2: ("stripes", "noise"), 3: ("noise",)}
"""Kinds of background by level."""
HUE_GAP = 0.13  # minimum distance on the colour circle between an object and the wall or an occluder


@dataclass(frozen=True)
class Appearance:
    """What a body looks like."""

    shape: BodyShape
    half_m: float
    colour: Colour
    pattern: Pattern

    @property
    def standing_m(self) -> float:
        """Height of its centre when it stands on the floor."""
        return BELOW[self.shape] * self.half_m

    @property
    def height_m(self) -> float:
        return (BELOW[self.shape] + ABOVE[self.shape]) * self.half_m

    def body(self, name: str, path: Path) -> FlatEntity:
        """A body of this appearance that follows a path."""
        pattern: Pattern = "halves" if self.shape == "disc" else self.pattern  # shows how a disc rolls
        return FlatEntity(name, self.shape, (self.half_m, self.half_m), self.colour, path, pattern)


@dataclass(frozen=True)
class FlatBase:
    """A scene under construction, with what is needed to add entities to it.

    Levels: 1 has plain backgrounds, 2 stripes or noise and patterned bodies, 3 noise and ornaments.
    """

    scene: FlatScene
    video: VideoFormat
    rng: KeyedRandom
    level: int
    unseen: bool  # use the held-out shapes, patterns and occluders
    wall_hue: float
    occluder_hue: float

    @property
    def shapes(self) -> tuple[BodyShape, ...]:
        return UNSEEN_SHAPES if self.unseen else SHAPES

    def sample_hue(self, *others: float, min_gap: float = 0.2) -> float:
        """A random hue that is at least `min_gap` from `others`, and HUE_GAP from wall and occluder."""
        for _ in range(200):
            hue = float(self.rng.appearance.random())
            if self.is_clear(hue) and all(hue_gap(hue, other) >= min_gap for other in others):
                return hue
        raise RuntimeError(f"no hue found that is at least {min_gap} from {others}; use a smaller min_gap")

    def is_clear(self, hue: float) -> bool:
        """Whether a hue differs from those of the wall and the occluder."""
        return all(hue_gap(hue, used) >= HUE_GAP for used in (self.wall_hue, self.occluder_hue))

    def sample_colour(self, hue: float) -> Colour:
        """A colour of this hue, of random high saturation and brightness."""
        stream = self.rng.appearance
        return colorsys.hsv_to_rgb(hue % 1, stream.uniform(0.75, 0.95), stream.uniform(0.65, 0.95))

    def sample_appearance(
        self, shape: BodyShape | None = None, hue: float | None = None, width_px: float | None = None
    ) -> Appearance:
        """A random appearance. What is not given is random too. width_px: in a video of 64 pixels."""
        colour = self.sample_colour(self.sample_hue() if hue is None else hue)
        patterns = UNSEEN_PATTERNS if self.unseen else PATTERNS
        pattern = patterns[int(self.rng.appearance.integers(len(patterns)))] if self.level > 1 else "plain"
        width_px = self.rng.uniform(11.2, 13.2) if width_px is None else width_px
        chosen: BodyShape = self.rng.choice(self.shapes) if shape is None else shape
        return Appearance(chosen, width_px * PICTURE_M / 128, colour, pattern)


def sample_base_scene(rng: KeyedRandom, video: VideoFormat, level: int, *, unseen: bool = False) -> FlatBase:
    """A random background, without entities."""
    looks = rng.appearance
    wall_hue = float(looks.random())
    occluder_hue = float((wall_hue + looks.uniform(0.25, 0.75)) % 1)
    kinds = BACKGROUNDS[level]
    brightness = looks.uniform(0.55, 0.95)
    second = colorsys.hsv_to_rgb(
        (wall_hue + looks.uniform(-0.05, 0.05)) % 1, looks.uniform(0.05, 0.3), brightness - looks.uniform(0.12, 0.3)
    )
    background = Background(
        kind=kinds[int(looks.integers(len(kinds)))],
        wall_rgb=colorsys.hsv_to_rgb(wall_hue, looks.uniform(0.05, 0.3), brightness),
        second_rgb=second,
        floor_rgb=colorsys.hsv_to_rgb(wall_hue, looks.uniform(0.05, 0.35), looks.uniform(0.3, 0.5)),
        ornaments=int(looks.integers(0, 3)) if level > 1 else 0,
        seed=int(looks.integers(2**62)),
    )
    return FlatBase(FlatScene((), background), video, rng, level, unseen, wall_hue, occluder_hue)


def resized(appearance: Appearance, ratio: float) -> Appearance:
    """The same appearance, larger by this ratio."""
    return replace(appearance, half_m=appearance.half_m * ratio)
