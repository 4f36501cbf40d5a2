"""Support: what has nothing under it falls. The magnitude is the width of the gap, or the height of the pillar, in widths."""

from __future__ import annotations

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import body, screen, table, wood
from data_prep.physics.object_sampling import draw_look
from data_prep.physics.quadruplets import Pair, Property, Template

GAPS = (1.5, 1.7, 1.9)


def _bridge(stage: Stage, *, hidden: bool = True) -> Pair:
    """Two tables, with a bridge between them or none; the gap goes out of sight; a body slides towards it."""
    duration, tempo = stage.film.duration_s, stage.film.tempo
    ratio, look, side = stage.dice.pick(GAPS), draw_look(stage), stage.dice.side()
    y_m, height = 0.15, stage.dice.uniform(0.38, 0.46)
    width = stage.width_m(look.width_px, y_m)
    half_gap = ratio * width / 2
    speed = stage.dice.uniform(1.95, 2.1) / tempo
    start_m = side * speed * duration * stage.dice.uniform(0.55, 0.59)
    one = body(
        stage,
        "one",
        look.shape,
        width,
        (start_m, y_m),
        look.colour,
        on_m=height,
        velocity_m_s=(-side * speed, 0.0, 0.0),
        pattern=look.pattern,
    )
    colour = wood(stage)
    left = table(stage, "left table", -half_gap - 2.6, -half_gap, y_m, height, colour, 0.3)
    right = table(stage, "right table", half_gap, half_gap + 2.6, y_m, height, colour, 0.3)
    bridge = table(stage, "bridge", -half_gap, half_gap, y_m, height, colour, 0.3)
    veil = [screen(stage, 0.21 * duration, half_width_m=0.72, half_height_m=0.66, takes_s=0.17 * duration)] if hidden else []
    base = stage.scene.with_things([left, right, *veil, one])
    return Pair(base.with_things([bridge]), base, ratio)


def _bridge_in_sight(stage: Stage) -> Pair:
    return _bridge(stage, hidden=False)


def _pillar(stage: Stage) -> Pair:
    """A pillar stands there, or none, and goes out of sight; a body drops: it stays above the screen or sinks behind it."""
    duration = stage.film.duration_s
    look = draw_look(stage, stage.dice.pick([shape for shape in stage.shapes if shape != "sphere"]))
    y_m, height = stage.dice.uniform(0.0, 0.15), stage.dice.uniform(0.68, 0.76)
    width = stage.width_m(look.width_px, y_m)
    pillar = table(stage, "pillar", -0.26, 0.26, y_m, height, wood(stage), 0.26)
    start_m = stage.dice.uniform(2.4, 2.5)
    rise = stage.dice.uniform(0.9, 1.2) + 1.6 * (duration - 2) * (duration > 2)
    one = body(
        stage,
        "one",
        look.shape,
        width,
        (0.0, y_m),
        look.colour,
        on_m=start_m - width / 2,
        velocity_m_s=(0.0, 0.0, rise),
        pattern=look.pattern,
        friction=0.8,
    )
    veil = screen(stage, 0.15 * duration, half_width_m=0.62, half_height_m=0.5, takes_s=0.12 * duration)
    base = stage.scene.with_things([veil, one])
    return Pair(base.with_things([pillar]), base, height / width)


SUPPORT = Property(
    "support",
    (
        Template("bridge", _bridge, "neutral"),
        Template("pillar", _pillar, "neutral"),
        Template("bridge_in_sight", _bridge_in_sight, "neutral", "visible"),
    ),
)
