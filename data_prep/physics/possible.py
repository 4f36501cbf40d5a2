"""Films to learn from: everything in them is lawful, and everything that is tested happens in them, in many more ways.

An act is a draw of a scene. The same props as in the tests stand at the same places, so that surprise there is not mere
novelty; who comes, from where, how fast, how many at once, and whether anything comes at all, is drawn more widely.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_prep.physics.base_scene import Stage, draw_stage
from data_prep.physics.bodies import body, covered, curtain, lowered, occluder, plate, ramp, screen, table, wood
from data_prep.physics.keyed_random import Dice
from data_prep.physics.object_sampling import arriving, draw_look, mover, sliding_shapes, still
from data_prep.physics.scenes import Format, Scene, Thing

LANES_M = (-0.25, 0.6, 1.45)


def pass_behind(stage: Stage) -> Scene:
    """One body or two pass behind an occluder, or none; sometimes it is missed, or passed in the open beside it."""
    dice = stage.dice
    panel = occluder(stage, dice.uniform(-0.3, 0.3), dice.uniform(0.45, 0.75), dice.uniform(0.45, 0.62))
    count = dice.pick((0, 1, 1, 1, 1, 2, 2))
    return stage.scene.with_things([panel, *_passers(stage, count, centre=dice.chance(0.6))])


def pass_open(stage: Stage) -> Scene:
    """One to three bodies, nothing in the way."""
    return stage.scene.with_things(_passers(stage, stage.dice.pick((1, 1, 2, 3)), centre=False))


def pass_aslant(stage: Stage) -> Scene:
    """A body comes nearer or goes away while it crosses, mostly behind an occluder."""
    dice, look = stage.dice, draw_look(stage)
    side, slope = dice.side(), float(np.tan(np.deg2rad(dice.uniform(-25, 25))))
    speed, middle_s = dice.uniform(1.4, 2.1) / stage.film.tempo, stage.film.duration_s * dice.uniform(0.4, 0.6)
    velocity = (-side * speed, slope * speed, 0.0)
    start = (side * speed * middle_s, 0.2 - slope * speed * middle_s)
    one = body(
        stage,
        "one",
        look.shape,
        stage.width_m(look.width_px, 0.2),
        start,
        look.colour,
        velocity_m_s=velocity,
        pattern=look.pattern,
    )
    panel = [occluder(stage, dice.uniform(-0.1, 0.1), dice.uniform(0.55, 0.72))] if dice.chance(0.7) else []
    return stage.scene.with_things([*panel, one])


def wait_behind(stage: Stage) -> Scene:
    """A screen, or two, rise and sink before bodies that lie still, or before none."""
    dice, duration = stage.dice, stage.film.duration_s
    if dice.chance(0.35):
        apart = dice.uniform(0.68, 0.8)
        screens = [curtain(stage, side * apart, 0.5, f"screen {side:+d}") for side in (-1, 1)]
        places = [side * apart * 1.22 for side in (-1, 1)]
        held = [place for place in places if dice.chance(0.5)]
    else:
        up, takes = dice.uniform(0.25, 0.35) * duration, dice.uniform(0.12, 0.17) * duration
        down = dice.uniform(0.58, 0.72) * duration if dice.chance(0.85) else None
        screens = [screen(stage, up, down, half_width_m=dice.uniform(0.55, 0.75), takes_s=takes)]
        held = [dice.uniform(-0.2, 0.2)] if dice.chance(0.8) else []
    bodies = [still(stage, f"still {n}", draw_look(stage), (x, dice.uniform(-0.1, 0.25))) for n, x in enumerate(held)]
    return stage.scene.with_things([*screens, *bodies])


def meet_wall(stage: Stage) -> Scene:
    """A body comes to a wall, or to where none is; often a screen has risen before it."""
    dice, duration, look = stage.dice, stage.film.duration_s, draw_look(stage)
    side, y_m = dice.side(), dice.uniform(-0.05, 0.2)
    width = stage.width_m(look.width_px, y_m)
    one = mover(stage, "one", look, side, y_m, dice.uniform(1.6, 2.3) / stage.film.tempo, duration * dice.uniform(0.45, 0.62))
    walls = [plate(stage, "plate", dice.uniform(-0.15, 0.15), y_m, dice.uniform(0.8, 1.4) * width, wood(stage), 0.36)]
    return stage.scene.with_things([*(walls if dice.chance(0.5) else []), *_veil(stage, 0.68), one])


def drop(stage: Stage) -> Scene:
    """Bodies fall on the floor, or on a pillar, in the open or behind a screen."""
    dice, look = stage.dice, draw_look(stage)
    y_m, x_m = dice.uniform(0.0, 0.2), dice.uniform(-0.05, 0.05)
    pillars = [table(stage, "pillar", x_m - 0.26, x_m + 0.26, y_m, dice.uniform(0.5, 0.76), wood(stage), 0.26)]
    fallers = [_faller(stage, "one", (x_m, y_m))]
    if dice.chance(0.3):
        fallers.append(_faller(stage, "two", (dice.side() * dice.uniform(1.0, 1.3), dice.uniform(0.0, 0.6))))
    veil = _veil(stage, 0.64, dice.uniform(0.48, 0.62), up=0.17)
    beside = (
        [still(stage, "beside", look, (dice.side() * dice.uniform(1.1, 1.4), 0.3))]
        if dice.chance(0.3) and len(fallers) < 2
        else []
    )
    return stage.scene.with_things([*(pillars if dice.chance(0.6) else []), *veil, *fallers, *beside])


def roll_down(stage: Stage) -> Scene:
    """A ball drops on a ramp and rolls off it, or on the floor where none is."""
    dice = stage.dice
    y_m = dice.uniform(0.0, 0.2)
    boards = [ramp(stage, "ramp", dice.side(), dice.uniform(20, 42), y_m, wood(stage))]
    ball = _faller(stage, "one", (0.0, y_m), ball=True)
    return stage.scene.with_things([*(boards if dice.chance(0.85) else []), *_veil(stage, 0.72, 0.64, up=0.19), ball])


def cross_gap(stage: Stage) -> Scene:
    """A body slides along tables: over a bridge, or into the gap."""
    dice, look, duration = stage.dice, draw_look(stage), stage.film.duration_s
    y_m, height, side = 0.15, dice.uniform(0.36, 0.48), dice.side()
    width = stage.width_m(look.width_px, y_m)
    half_gap = dice.uniform(1.45, 1.95) * width / 2
    speed = dice.uniform(1.7, 2.2) / stage.film.tempo
    start = (side * speed * duration * dice.uniform(0.45, 0.6), y_m)
    velocity = (-side * speed, 0.0, 0.0)
    one = body(stage, "one", look.shape, width, start, look.colour, on_m=height, velocity_m_s=velocity, pattern=look.pattern)
    colour = wood(stage)
    spans = [
        ("left table", -half_gap - 2.6, -half_gap),
        ("right table", half_gap, half_gap + 2.6),
        ("bridge", -half_gap, half_gap),
    ]
    if dice.chance(0.5):
        spans.pop()
    tables = [table(stage, name, left, right, y_m, height, colour, 0.3) for name, left, right in spans]
    return stage.scene.with_things([*tables, *_veil(stage, 0.72, 0.66), one])


def strike(stage: Stage) -> Scene:
    """A disc runs into another at rest, in the open or behind a screen, or misses it, or none comes."""
    dice, film = stage.dice, stage.film
    side, speed = dice.side(), dice.uniform(1.7, 2.4) / film.tempo
    y_m, at_m = dice.uniform(0.0, 0.2), -side * dice.uniform(0.0, 0.35)
    hue = stage.hue()
    width = stage.width_m(dice.uniform(11.0, 12.0), y_m)
    look = draw_look(stage, "cylinder", hue)
    target = body(stage, "struck", "cylinder", width, (at_m, y_m), look.colour, bouncy=True, pattern=look.pattern)
    start = at_m + side * (speed * film.duration_s * dice.uniform(0.42, 0.6) + width)
    other = draw_look(stage, "cylinder", stage.hue(hue))
    lane = y_m if dice.chance(0.8) else y_m + 1.3 * width
    velocity = (-side * speed, 0.0, 0.0)
    striker = body(
        stage,
        "striker",
        "cylinder",
        width,
        (start, lane),
        other.colour,
        velocity_m_s=velocity,
        bouncy=True,
        pattern=other.pattern,
    )
    strikers = [striker] if dice.chance(0.75) else []
    return stage.scene.with_things([*_veil(stage, dice.uniform(0.7, 0.94)), target, *strikers])


def tower(stage: Stage) -> Scene:
    """Boxes stand on one another; a ball may run into them."""
    dice = stage.dice
    width, y_m = stage.width_m(dice.uniform(10.6, 11.6), 0.3), 0.3
    boxes = []
    for floor in range(dice.pick((2, 2, 3))):
        colour = stage.paint(stage.hue())
        at = (dice.uniform(-0.04, 0.04), y_m)
        boxes.append(body(stage, f"box {floor}", "box", width, at, colour, on_m=floor * (0.9 * width + 1e-3), friction=0.7))
    balls = []
    if dice.chance(0.6):
        look = draw_look(stage, "sphere")
        balls = [
            mover(stage, "ball", look, dice.side(), y_m, dice.uniform(1.6, 2.4) / stage.film.tempo, stage.film.duration_s * 0.5)
        ]
    return stage.scene.with_things([*boxes, *balls])


def come_to_rest(stage: Stage) -> Scene:
    """A body slides in, is seen to slow down, and stops: in the open, behind an occluder, or behind a screen that sinks."""
    dice, duration = stage.dice, stage.film.duration_s
    stops_s, place = dice.uniform(0.42, 0.6) * duration, dice.pick(("open", "occluder", "screen", "screen", "screen"))
    rest_m = dice.uniform(-1.0, 1.0) if place == "open" else dice.uniform(-0.18, 0.18)
    look = draw_look(stage, dice.pick(sliding_shapes(stage)))
    one = arriving(stage, "one", look, dice.side(), (rest_m, dice.uniform(-0.1, 0.25)), stops_s)
    hides = {"open": [], "occluder": [covered(stage)], "screen": [lowered(stage)]}[place]
    return stage.scene.with_things([*hides, *([one] if dice.chance(0.8) else [])])


def turn_back(stage: Stage) -> Scene:
    """A body slides in and bounces off a wall that shows above an occluder; or the occluder is as wide and no wall is there."""
    dice, look = stage.dice, draw_look(stage)
    y_m, side = dice.uniform(-0.1, 0.2), dice.side()
    width, speed = stage.width_m(look.width_px, y_m), dice.uniform(1.6, 2.1) / stage.film.tempo
    wall_m = dice.uniform(-0.1, 0.1)
    start_m = wall_m + side * (speed * stage.film.duration_s * dice.uniform(0.44, 0.56) + 0.1 + width / 2)
    velocity = (-side * speed, 0.0, 0.0)
    one = body(
        stage,
        "one",
        look.shape,
        width,
        (start_m, y_m),
        look.colour,
        velocity_m_s=velocity,
        rolls=False,
        bouncy=True,
        friction=1e-4,
        pattern=look.pattern,
    )
    wall = [plate(stage, "wall between", wall_m, y_m, dice.uniform(1.45, 1.6), wood(stage), 0.36)] if dice.chance(0.7) else []
    panel = [occluder(stage, 0.0, dice.uniform(0.66, 1.05), dice.uniform(0.54, 0.62))] if dice.chance(0.85) else []
    return stage.scene.with_things([*panel, *wall, one])


ACTS: tuple[tuple[Callable[[Stage], Scene], float], ...] = (
    (pass_behind, 0.30),
    (come_to_rest, 0.10),
    (turn_back, 0.08),
    (wait_behind, 0.08),
    (pass_open, 0.06),
    (pass_aslant, 0.06),
    (meet_wall, 0.06),
    (cross_gap, 0.06),
    (drop, 0.06),
    (roll_down, 0.06),
    (strike, 0.06),
    (tower, 0.02),
)
"""How often each act is played."""


def draw_lawful(film: Format, *key: object, levels: tuple[int, ...] = (1, 2), unseen: bool = False) -> tuple[str, Scene]:
    """The name of an act, and the scene it drew."""
    dice = Dice(*key)
    stage = draw_stage(dice, film, dice.pick(levels), unseen=unseen)
    weights = np.array([weight for _, weight in ACTS])
    act = ACTS[int(dice.stream("act").choice(len(ACTS), p=weights / weights.sum()))][0]
    return act.__name__, act(stage)


def _passers(stage: Stage, count: int, *, centre: bool) -> list[Thing]:
    """Bodies that cross in lanes of their own; `centre`: they are in the middle when half the film is over."""
    dice, film = stage.dice, stage.film
    lanes = [dice.uniform(-0.25, 0.6)] if count == 1 else [LANES_M[i] for i in dice.geometry.permutation(len(LANES_M))[:count]]
    passers: list[Thing] = []
    hues: list[float] = []
    for number, lane in enumerate(lanes):
        hues.append(stage.hue(*hues, apart=0.12))
        middle_s = film.duration_s * (dice.uniform(0.46, 0.54) if centre else dice.uniform(0.2, 0.8))
        speed = dice.uniform(1.4, 2.4) / film.tempo
        passers.append(mover(stage, f"passer {number}", draw_look(stage, hue=hues[-1]), dice.side(), lane, speed, middle_s))
    return passers


def _veil(stage: Stage, half_width_m: float, half_height_m: float = 0.62, up: float = 0.21) -> list[Thing]:
    """Mostly a screen that rises early and stays, sometimes one that sinks again, sometimes none."""
    dice, duration = stage.dice, stage.film.duration_s
    if dice.chance(0.3):
        return []
    down_s = dice.uniform(0.6, 0.8) * duration if dice.chance(0.25) else None
    takes_s = 0.8 * up * duration
    return [screen(stage, up * duration, down_s, half_width_m=half_width_m, half_height_m=half_height_m, takes_s=takes_s)]


def _faller(stage: Stage, name: str, at_m: tuple[float, float], *, ball: bool = False) -> Thing:
    """A body thrown up gently above the picture, so that it falls into it."""
    dice, look, duration = stage.dice, draw_look(stage), stage.film.duration_s
    shape = "sphere" if ball else look.shape
    width = stage.width_m(look.width_px, at_m[1])
    rise = dice.uniform(0.0, 1.2) + (1.6 * (duration - 2) if duration > 2 else 0.0)
    high = dice.uniform(2.3, 2.5) - width / 2
    return body(
        stage,
        name,
        shape,
        width,
        at_m,
        look.colour,
        on_m=high,
        velocity_m_s=(0.0, 0.0, rise),
        friction=0.8,
        rolls=False,
        pattern=look.pattern,
    )
