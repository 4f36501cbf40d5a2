"""The base scene: floor, wall, light and camera. Templates add entities to it."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from data_prep.physics.hues import hue_gap
from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.scenes import Camera, Colour, Entity, Light, Scene, Shape, Texture

SHAPES: tuple[Shape, ...] = ("sphere", "box", "cylinder")
UNSEEN_SHAPES: tuple[Shape, ...] = ("capsule", "ellipsoid")
DISTRACTOR_SHAPES: tuple[Shape, ...] = ("box", "cylinder")
PATTERNS = ("stripes", "bands", "checker", "marble")
UNSEEN_PATTERNS = ("dots", "rings", "waves")
HUE_GAP = 0.13  # minimum distance on the colour circle between an object and the wall or a screen
SCREEN_Y_M = -0.8  # occluders and screens stand 0.8 m nearer to the camera than the middle of the scene


@dataclass(frozen=True)
class BaseScene:
    """A scene under construction, with what is needed to add entities to it.

    Levels: 1 is plain, 2 has textures and distractors, and at 3 camera and light drift as well.
    """

    scene: Scene
    video: VideoFormat
    rng: KeyedRandom
    level: int
    unseen: bool  # use the held-out shapes, textures and occluders
    wall_hue: float
    screen_hue: float

    def centred(self) -> BaseScene:
        """The same scene with camera and lamp centred, so that left and right look alike."""
        camera, light = self.scene.camera, self.scene.light
        eye = (-camera.drift_m[0] / 2, *camera.position_m[1:])
        lamp = (-light.drift_m[0] / 2, *light.position_m[1:])
        scene = replace(self.scene, camera=replace(camera, position_m=eye), light=replace(light, position_m=lamp))
        return replace(self, scene=scene)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return UNSEEN_SHAPES if self.unseen else SHAPES

    def width_m(self, width_px: float, y_m: float = 0.0) -> float:
        """The width in metres of an entity at depth `y_m` that is `width_px` wide at 64 pixels."""
        camera = self.scene.camera
        eye, target = np.asarray(camera.position_m), np.asarray(camera.look_at_m)
        forward = (target - eye) / np.linalg.norm(target - eye)
        distance = float((np.array([0.0, y_m, 0.35]) - eye) @ forward)
        return float(width_px * distance / (32 / np.tan(np.deg2rad(camera.fov_deg) / 2)))

    def sample_hue(self, *others: float, min_gap: float = 0.2) -> float:
        """A random hue that is at least `min_gap` from `others`, and HUE_GAP from wall and screens."""
        for _ in range(200):
            hue = float(self.rng.appearance.random())
            clear = all(hue_gap(hue, used) >= HUE_GAP for used in (self.wall_hue, self.screen_hue))
            if clear and all(hue_gap(hue, other) >= min_gap for other in others):
                return hue
        raise RuntimeError(f"no hue found that is at least {min_gap} from {others}; use a smaller min_gap")

    def sample_colour(self, hue: float) -> Colour:
        """A colour of this hue, of random high saturation and brightness."""
        stream = self.rng.appearance
        return colorsys.hsv_to_rgb(hue % 1, stream.uniform(0.72, 0.9), stream.uniform(0.78, 0.95))

    def sample_pattern(self) -> str:
        patterns = UNSEEN_PATTERNS if self.unseen else PATTERNS
        return patterns[int(self.rng.appearance.integers(len(patterns)))]


def sample_base_scene(rng: KeyedRandom, video: VideoFormat, level: int, *, unseen: bool = False) -> BaseScene:
    """Floor, back wall, light and camera.

    Levels 2 and 3 add textures and distractors; at level 3 camera and light drift.
    """
    appearance, view = rng.appearance, rng.camera
    wall_hue = float(appearance.random())
    screen_hue = float((wall_hue + appearance.uniform(0.25, 0.75)) % 1)
    shade = float(appearance.uniform(0.74, 0.86))
    texture_amount = 0.07 if level == 1 else 0.14
    floor_pattern, wall_pattern = "checker", "bricks"
    if level >= 3:
        floor_pattern, wall_pattern = ("waves", "rings") if unseen else ("marble", "marble")
    floor = Entity(
        name="floor",
        shape="plane",
        size_m=(8.0, 8.0, 0.1),
        position_m=(0.0, 0.0, 0.0),
        colour_rgb=(shade, shade * 0.97, shade * 0.92),
        is_backdrop=True,
        texture=Texture(floor_pattern, 1.0, texture_amount),
    )
    wall = Entity(
        name="wall",
        shape="box",
        size_m=(9.0, 0.1, 2.5),
        position_m=(0.0, 3.2, 2.5),
        colour_rgb=colorsys.hsv_to_rgb(wall_hue, 0.2, 0.82),
        is_backdrop=True,
        texture=Texture(wall_pattern, 0.7, texture_amount),
    )
    drift = float(view.uniform(0.15, 0.3) * view.choice([-1, 1])) if level >= 3 else 0.0
    camera = Camera(
        position_m=(float(view.uniform(-0.2, 0.2)) - drift / 2, -4.6, float(view.uniform(1.55, 1.9))),
        drift_m=(drift, 0.0, 0.0),
    )
    light = Light(
        position_m=(float(view.uniform(-0.7, 0.7)), -3.4, 6.4),
        drift_m=(drift * 2, 0.0, 0.0),
    )
    sky = colorsys.hsv_to_rgb(0.58, float(appearance.uniform(0.08, 0.2)), 0.93)
    base = BaseScene(Scene((floor, wall), camera, light, sky), video, rng, level, unseen, wall_hue, screen_hue)
    return base if level == 1 else _with_distractors(base)


def _with_distractors(base: BaseScene) -> BaseScene:
    """Add one or two entities far back at the sides, away from all occluders and paths."""
    rng = base.rng
    sides = [rng.side()] if rng.bernoulli(0.6) else [-1, 1]
    distractors = []
    for number, side in enumerate(sides):
        half = base.width_m(rng.uniform(10.5, 13.0), 2.4) / 2
        shape: Shape = rng.choice(DISTRACTOR_SHAPES)
        size = (half, half, half) if shape == "box" else (half, half)
        distractors.append(
            Entity(
                name=f"distractor{number}",
                shape=shape,
                size_m=size,
                position_m=(side * rng.uniform(1.75, 2.05), 2.4, half),
                colour_rgb=base.sample_colour(base.sample_hue()),
                is_object=True,
                texture=Texture(base.sample_pattern(), 3.0, 0.3),
            )
        )
    return replace(base, scene=base.scene.with_entities(distractors))
