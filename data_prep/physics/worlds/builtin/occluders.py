"""Occluders, which stand still, and screens, which rise out of the floor and sink into it."""

from __future__ import annotations

import colorsys

from data_prep.physics.worlds.builtin.base_scene import SCREEN_Y_M, BaseScene
from data_prep.physics.worlds.builtin.scenes import Entity, Texture


def occluder(base: BaseScene, x_m: float = 0.0, half_width_m: float = 0.66, half_height_m: float = 0.56) -> Entity:
    """A panel that stands still. The held-out kind is an oval disc."""
    colour = colorsys.hsv_to_rgb(base.screen_hue, 0.3, 0.8)
    if base.unseen:
        # the disc reaches into the floor, and is as wide as the panel at the height of the bodies
        # that pass
        return Entity(
            name="occluder",
            shape="ellipsoid",
            size_m=(1.25 * half_width_m, 0.06, 1.3 * half_height_m),
            position_m=(x_m, SCREEN_Y_M, 0.5 * half_height_m),
            colour_rgb=colour,
            is_occluder=True,
            texture=Texture("dots", 4.0, 0.2),
        )
    return Entity(
        name="occluder",
        shape="box",
        size_m=(half_width_m, 0.05, half_height_m),
        position_m=(x_m, SCREEN_Y_M, half_height_m),
        colour_rgb=colour,
        is_occluder=True,
        texture=Texture("stripes", 3.0, 0.14),
    )


def central_occluder(base: BaseScene) -> Entity:
    """An occluder near the middle, at most as wide as two bodies."""
    return occluder(base, base.rng.uniform(-0.06, 0.06), base.rng.uniform(0.64, 0.7), base.rng.uniform(0.54, 0.6))


def screen(
    base: BaseScene,
    up_s: float,
    down_s: float | None = None,
    *,
    x_m: float = 0.0,
    half_width_m: float = 0.75,
    half_height_m: float = 0.6,
    move_s: float = 0.3,
    name: str = "screen",
) -> Entity:
    """A panel that rises out of the floor and is up from `up_s` on.

    It starts to sink at `down_s`, unless that is None. It takes `move_s` to rise and to sink.
    """
    up = (x_m, SCREEN_Y_M, half_height_m)
    down = (x_m, SCREEN_Y_M, -half_height_m - 0.02)
    path = [(up_s - move_s, down), (up_s, up)]
    if down_s is not None:
        path += [(down_s, up), (down_s + move_s, down)]
    pattern = "rings" if base.unseen else "stripes"
    return Entity(
        name=name,
        shape="box",
        size_m=(half_width_m, 0.05, half_height_m),
        position_m=down,
        colour_rgb=colorsys.hsv_to_rgb(base.screen_hue, 0.34, 0.8),
        motion="scripted",
        is_occluder=True,
        texture=Texture(pattern, 3.0, 0.16),
        path=tuple(path),
    )


def temporary_screen(base: BaseScene, x_m: float = 0.0, half_width_m: float = 0.6, name: str = "screen") -> Entity:
    """A screen that is up in the middle third of the video.

    What is behind it can be seen before and after.
    """
    duration = base.video.duration_s
    return screen(base, 0.3 * duration, 0.68 * duration, x_m=x_m, half_width_m=half_width_m, move_s=0.14 * duration, name=name)


def sinking_screen(base: BaseScene) -> Entity:
    """A screen that is up from the first frame and sinks towards the end."""
    duration = base.video.duration_s
    down_s = base.rng.uniform(0.68, 0.74) * duration
    return screen(base, -1.0, down_s, half_width_m=base.rng.uniform(0.62, 0.7), move_s=0.14 * duration)
