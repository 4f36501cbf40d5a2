"""Free bodies: what MuJoCo moves.

Training videos and test videos use the same bodies, occluders and structures, at the same sizes and
positions.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.scenes import Colour, Entity, Shape, Texture, Vec3

SLIDING_FRICTION = 0.003
ROLLING_FRICTION = 0.8
LYING = (0.7071067811865476, 0.0, 0.7071067811865476, 0.0)  # along x: a capsule that stands on its end would topple
HEIGHT_OF = {"sphere": 1.0, "box": 0.9, "cylinder": 1.0, "capsule": 0.64, "ellipsoid": 0.72}
"""Height of a body divided by its width."""


@dataclass(frozen=True)
class Appearance:
    """What a body looks like."""

    shape: Shape
    width_px: float  # in a video of 64 pixels
    colour: Colour
    pattern: str | None = None


def body(
    base: BaseScene,
    name: str,
    appearance: Appearance,
    at_m: tuple[float, float],
    *,
    width_m: float | None = None,
    on_m: float = 0.0,
    velocity_m_s: Vec3 = (0.0, 0.0, 0.0),
    rolls: bool = True,
    friction: float | None = None,
    elastic: bool = False,
) -> Entity:
    """A free body at (x, y) that rests on something `on_m` high.

    Spheres roll at the speed at which they move; other shapes slide.

    width_m: by default the width that appears `appearance.width_px` wide at this depth.
    rolls: False gives a sphere no spin.
    """
    shape, pattern = appearance.shape, appearance.pattern
    width_m = base.width_m(appearance.width_px, at_m[1]) if width_m is None else width_m
    half = width_m / 2
    is_sphere = shape == "sphere"
    spin = (0.0, 0.0, 0.0)
    if is_sphere and rolls:
        spin = (-velocity_m_s[1] / half, velocity_m_s[0] / half, 0.0)
    texture = Texture("octants", 1.0, 0.5) if is_sphere else None
    if not is_sphere and (pattern or base.level > 1):
        texture = Texture(pattern or base.sample_pattern(), 2.0 / width_m, 0.35)
    return Entity(
        name=name,
        shape=shape,
        size_m=_half_sizes(shape, half),
        position_m=(at_m[0], at_m[1], on_m + HEIGHT_OF[shape] * half + 1e-3),
        colour_rgb=appearance.colour,
        motion="free",
        is_object=True,
        velocity_m_s=velocity_m_s,
        spin_rad_s=spin,
        quaternion=LYING if shape == "capsule" else (1.0, 0.0, 0.0, 0.0),
        texture=texture,
        friction=(ROLLING_FRICTION if is_sphere else SLIDING_FRICTION) if friction is None else friction,
        elastic=elastic,
    )


def half_width_m(entity: Entity) -> float:
    """How far a body that `body` returned reaches to the left and to the right of its middle."""
    return sum(entity.size_m) if entity.shape == "capsule" else entity.size_m[0]


def _half_sizes(shape: Shape, half: float) -> tuple[float, ...]:
    if shape == "sphere":
        return (half,)
    if shape == "box":
        return (half * 0.9, half * 0.9, half * 0.9)
    if shape == "cylinder":
        return (half, half)
    if shape == "capsule":
        return (half * 0.64, half * 0.36)  # radius, half of the straight part
    return (half, half, half * 0.72)
