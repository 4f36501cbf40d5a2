"""An empty place, drawn: floor, wall, light, camera, and the hues and sizes at which things can be told apart there."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from data_prep.physics.keyed_random import Dice
from data_prep.physics.scenes import Camera, Colour, Format, Light, Scene, Shape, Texture, Thing

SHAPES: tuple[Shape, ...] = ("sphere", "box", "cylinder")
UNSEEN_SHAPES: tuple[Shape, ...] = ("capsule", "ellipsoid")
DISTRACTOR_SHAPES: tuple[Shape, ...] = ("box", "cylinder")
PATTERNS = ("stripes", "bands", "checker", "marble")
UNSEEN_PATTERNS = ("dots", "rings", "waves")
HUE_GAP = 0.13  # of the circle, between a thing and what it is seen against
SCREEN_Y_M = -0.8  # how far in front of the middle occluders and screens stand


@dataclass(frozen=True)
class Stage:
    """The scene so far, and what furnishing it needs to know. Levels: 1 plain, 2 textured with distractors, 3 drifting."""

    scene: Scene
    film: Format
    dice: Dice
    level: int
    unseen: bool  # held-out shapes, textures and occluders
    wall_hue: float
    screen_hue: float

    def furnished(self, *things: Thing) -> Stage:
        """The same stage with these things on it."""
        return replace(self, scene=self.scene.with_things(things))

    def seen_straight_on(self) -> Stage:
        """Camera and lamps in the middle (of their drift), so that left and right look alike."""
        camera, light = self.scene.camera, self.scene.light
        eye = (-camera.drift_m[0] / 2, *camera.position_m[1:])
        lamp = (-light.drift_m[0] / 2, *light.position_m[1:])
        scene = replace(self.scene, camera=replace(camera, position_m=eye), light=replace(light, position_m=lamp))
        return replace(self, scene=scene)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return UNSEEN_SHAPES if self.unseen else SHAPES

    def width_m(self, width_px: float, y_m: float = 0.0) -> float:
        """How wide a thing on the floor at depth y must be to look so wide in a film of 64 pixels."""
        camera = self.scene.camera
        eye, goal = np.asarray(camera.position_m), np.asarray(camera.look_at_m)
        forward = (goal - eye) / np.linalg.norm(goal - eye)
        away = float((np.array([0.0, y_m, 0.35]) - eye) @ forward)
        return float(width_px * away / (32 / np.tan(np.deg2rad(camera.fov_deg) / 2)))

    def hue(self, *others: float, apart: float = 0.2) -> float:
        """A hue apart from wall, screens and these others."""
        for _ in range(200):
            hue = float(self.dice.looks.random())
            clear = all(hue_gap(hue, taken) >= HUE_GAP for taken in (self.wall_hue, self.screen_hue))
            if clear and all(hue_gap(hue, other) >= apart for other in others):
                return hue
        raise RuntimeError(f"no hue is {apart} apart from {others}; ask for less")

    def paint(self, hue: float) -> Colour:
        """A strong colour of this hue."""
        looks = self.dice.looks
        return colorsys.hsv_to_rgb(hue % 1, looks.uniform(0.72, 0.9), looks.uniform(0.78, 0.95))

    def pattern(self) -> str:
        bank = UNSEEN_PATTERNS if self.unseen else PATTERNS
        return bank[int(self.dice.looks.integers(len(bank)))]


def hue_gap(one: float, other: float) -> float:
    """Distance on the colour circle, 0 to 0.5."""
    gap = abs(one - other) % 1
    return min(gap, 1 - gap)


def draw_stage(dice: Dice, film: Format, level: int, *, unseen: bool = False) -> Stage:
    """Floor, back wall, light and camera; from level 2 textures and distractors, at level 3 camera and lamps drift."""
    looks, view = dice.looks, dice.camera
    wall_hue = float(looks.random())
    screen_hue = float((wall_hue + looks.uniform(0.25, 0.75)) % 1)
    shade = float(looks.uniform(0.74, 0.86))
    plain = 0.07 if level == 1 else 0.14
    floor_pattern, wall_pattern = "checker", "bricks"
    if level >= 3:
        floor_pattern, wall_pattern = ("waves", "rings") if unseen else ("marble", "marble")
    things = [
        Thing(
            "floor",
            "plane",
            (8.0, 8.0, 0.1),
            (0.0, 0.0, 0.0),
            (shade, shade * 0.97, shade * 0.92),
            backdrop=True,
            texture=Texture(floor_pattern, 1.0, plain),
        ),
        Thing(
            "wall",
            "box",
            (9.0, 0.1, 2.5),
            (0.0, 3.2, 2.5),
            colorsys.hsv_to_rgb(wall_hue, 0.2, 0.82),
            backdrop=True,
            texture=Texture(wall_pattern, 0.7, plain),
        ),
    ]
    drift = float(view.uniform(0.15, 0.3) * view.choice([-1, 1])) if level >= 3 else 0.0
    camera = Camera(
        position_m=(float(view.uniform(-0.2, 0.2)) - drift / 2, -4.6, float(view.uniform(1.55, 1.9))),
        drift_m=(drift, 0.0, 0.0),
    )
    light = Light(
        position_m=(float(view.uniform(-0.7, 0.7)), -3.4, 6.4),
        drift_m=(drift * 2, 0.0, 0.0),
    )
    sky = colorsys.hsv_to_rgb(0.58, float(looks.uniform(0.08, 0.2)), 0.93)
    stage = Stage(Scene(tuple(things), camera, light, sky), film, dice, level, unseen, wall_hue, screen_hue)
    return stage if level == 1 else _with_distractors(stage)


def _with_distractors(stage: Stage) -> Stage:
    """One or two things standing far back at the sides, clear of every occluder and of every path."""
    dice = stage.dice
    sides = [dice.side()] if dice.chance(0.6) else [-1, 1]
    things = []
    for number, side in enumerate(sides):
        half = stage.width_m(dice.uniform(10.5, 13.0), 2.4) / 2
        shape: Shape = dice.pick(DISTRACTOR_SHAPES)
        size = (half, half, half) if shape == "box" else (half, half)
        things.append(
            Thing(
                f"distractor{number}",
                shape,
                size,
                (side * dice.uniform(1.75, 2.05), 2.4, half),
                stage.paint(stage.hue()),
                object=True,
                texture=Texture(stage.pattern(), 3.0, 0.3),
            )
        )
    return stage.furnished(*things)
