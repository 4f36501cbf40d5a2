"""Data of a flat scene: entities and a background, all frozen. Equal scenes give equal videos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from data_prep.physics.motion import Path

Colour = tuple[float, float, float]
BodyShape = Literal["disc", "square", "triangle", "star", "pentagon", "cross"]
OccluderShape = Literal["box", "rounded", "ellipse", "trapezoid", "house", "hill"]
Shape = BodyShape | OccluderShape | Literal["ramp"]
Pattern = Literal["plain", "halves", "stripes", "bands", "dot", "checker", "rings"]
BackgroundKind = Literal["plain", "gradient", "stripes", "noise"]


@dataclass(frozen=True)
class FlatEntity:
    """A body, a structure or an occluder."""

    name: str
    shape: Shape
    half_m: tuple[float, float]  # half width and half height
    colour_rgb: Colour
    path: Path
    pattern: Pattern = "plain"
    pattern_amount: float = 0.35  # 0 leaves the colour alone, 1 paints black
    is_object: bool = True  # listed in the ground truth
    is_fixed: bool = False  # a structure, which cannot move
    is_occluder: bool = False
    mirrored: bool = False  # left and right exchanged, for ramps


@dataclass(frozen=True)
class Background:
    """Wall and floor. Its details are a function of the seed."""

    kind: BackgroundKind
    wall_rgb: Colour
    second_rgb: Colour  # of the gradient, the stripes or the noise
    floor_rgb: Colour
    ornaments: int  # pale shapes on the wall
    seed: int


@dataclass(frozen=True)
class FlatScene:
    """Everything that determines a video, except its format. Entities are drawn from back to front."""

    entities: tuple[FlatEntity, ...]
    background: Background

    def with_entities(self, entities: Iterable[FlatEntity]) -> FlatScene:
        """The same scene with more entities, in front of the others."""
        return replace(self, entities=(*self.entities, *entities))
