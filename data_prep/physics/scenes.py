"""What a scene is made of: things, a camera, a light. Plain frozen data: the same scene is the same film.

The world is in metres, x to the right, y away from the camera, z up; the floor is z = 0.
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
    """A closed-form darkening of a surface, in the thing's own coordinates: it turns as the thing turns."""

    pattern: str
    per_m: float = 1.0  # repeats per metre
    amount: float = 0.2  # 0 leaves the colour alone, 1 paints black


@dataclass(frozen=True)
class Thing:
    """One geom. `object` things are counted in the truth; the others are scenery (floor, walls, occluders).

    `free` things are moved by MuJoCo; `scripted` things (screens) follow `path` and touch nothing.
    """

    name: str
    shape: Shape
    size_m: tuple[float, ...]  # MuJoCo's half sizes
    position_m: Vec3
    colour_rgb: Colour
    motion: Motion = "fixed"
    object: bool = False
    occluder: bool = False
    backdrop: bool = False  # floor and back wall: they catch shadows and cast none
    velocity_m_s: Vec3 = (0.0, 0.0, 0.0)
    spin_rad_s: Vec3 = (0.0, 0.0, 0.0)
    quaternion: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    texture: Texture | None = None
    friction: float = 0.8
    bouncy: bool = False
    path: tuple[tuple[float, Vec3], ...] = ()  # (time_s, position_m), straight between


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks at a point; `drift_m` is how far it has moved sideways by the last frame."""

    position_m: Vec3
    look_at_m: Vec3 = (0.0, 0.0, 0.5)
    fov_deg: float = 42.0
    drift_m: Vec3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Light:
    """A square lamp (four points, so shadows have soft edges) over an even ambient light. They add up to less than 1."""

    position_m: Vec3
    side_m: float = 0.5
    ambient: float = 0.46
    diffuse: float = 0.5
    specular: float = 0.35
    drift_m: Vec3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Format:
    """How a film is taken: its picture and its clock."""

    size_px: int = 64
    frames: int = 24
    fps: float = 12.0

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps

    @property
    def tempo(self) -> float:
        """How much slower things go than in a film of two seconds: 1 there, 2 in a film of four seconds."""
        return min(max(self.duration_s / 2.0, 0.6), 3.0)


@dataclass(frozen=True)
class Scene:
    """Everything that determines a film but its size in pixels."""

    things: tuple[Thing, ...]
    camera: Camera
    light: Light
    sky_rgb: Colour = (0.8, 0.86, 0.92)

    def with_things(self, things: Iterable[Thing]) -> Scene:
        """The same scene with more things."""
        return replace(self, things=(*self.things, *things))

    def without(self, name: str) -> Scene:
        """The same scene with one thing less."""
        return replace(self, things=tuple(thing for thing in self.things if thing.name != name))

    def recast(self, other: Scene) -> Scene:
        """This stage with the actors of `other`: fixed and scripted things stay, free things are exchanged."""
        stage = tuple(thing for thing in self.things if thing.motion != "free")
        cast = tuple(thing for thing in other.things if thing.motion == "free")
        return replace(self, things=stage + cast)
