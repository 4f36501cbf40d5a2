"""Data of a scene: entities, a camera and a light, all frozen. Equal scenes give equal videos.

The world is in metres: x to the right, y away from the camera, z up. The floor is z = 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Vec3 = tuple[float, float, float]
Colour = tuple[float, float, float]
Shape = Literal["sphere", "box", "cylinder", "capsule", "ellipsoid", "plane"]
Motion = Literal["fixed", "free", "scripted"]


@dataclass(frozen=True)
class Texture:
    """A surface pattern, given by a formula in the entity's own coordinates."""

    pattern: str
    per_m: float = 1.0  # repeats per metre
    amount: float = 0.2  # 0 leaves the colour alone, 1 paints black


@dataclass(frozen=True)
class Entity:
    """One geometric body of a scene.

    Objects (`is_object`) are listed in the ground truth. The others are scenery: floor, wall,
    occluders. Free entities are moved by MuJoCo. Scripted entities (screens) follow `path` and
    collide with nothing.
    """

    name: str
    shape: Shape
    size_m: tuple[float, ...]  # MuJoCo's half sizes
    position_m: Vec3
    colour_rgb: Colour
    motion: Motion = "fixed"
    is_object: bool = False
    is_occluder: bool = False
    is_backdrop: bool = False  # floor and back wall: shadows fall on them, and they cast none
    velocity_m_s: Vec3 = (0.0, 0.0, 0.0)
    spin_rad_s: Vec3 = (0.0, 0.0, 0.0)
    quaternion: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    texture: Texture | None = None
    friction: float = 0.8
    elastic: bool = False  # keeps nearly all its speed in a collision
    path: tuple[tuple[float, Vec3], ...] = ()  # (time_s, position_m), interpolated linearly


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at a point.

    It moves by `drift_m` from the first frame to the last.
    """

    position_m: Vec3
    look_at_m: Vec3 = (0.0, 0.0, 0.5)
    fov_deg: float = 42.0
    drift_m: Vec3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Light:
    """A square lamp and an even ambient light. The lamp has four points, which makes shadows soft.

    Ambient and diffuse light add up to less than 1, so that no pixel is clipped.
    """

    position_m: Vec3
    side_m: float = 0.5
    ambient: float = 0.46
    diffuse: float = 0.5
    specular: float = 0.35
    drift_m: Vec3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """Everything that determines a video, except its format."""

    entities: tuple[Entity, ...]
    camera: Camera
    light: Light
    sky_rgb: Colour = (0.8, 0.86, 0.92)

    def with_entities(self, entities: Iterable[Entity]) -> Scene:
        """The same scene with more entities."""
        return replace(self, entities=(*self.entities, *entities))

    def with_free_entities_of(self, other: Scene) -> Scene:
        """This scene with its free entities replaced by those of `other`."""
        scenery = tuple(entity for entity in self.entities if entity.motion != "free")
        free = tuple(entity for entity in other.entities if entity.motion == "free")
        return replace(self, entities=scenery + free)
