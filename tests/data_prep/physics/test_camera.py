"""What the camera sees, against geometry worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_prep.physics.base_scene import draw_stage
from data_prep.physics.bodies import body, curtain, occluder
from data_prep.physics.keyed_random import Dice
from data_prep.physics.rendering import camera as camera_module
from data_prep.physics.rendering.camera import RayCamera
from data_prep.physics.rendering.clip import shoot
from data_prep.physics.scenes import Camera, Format, Light, Scene, Thing
from data_prep.physics.world import Puppets, simulate

FILM = Format(64, 4, 12.0)


def ball(x: float = 0.0, y: float = 0.0, z: float = 1.0, radius: float = 0.4, **more) -> Thing:
    return Thing("ball", "sphere", (radius,), (x, y, z), (0.9, 0.2, 0.1), "free", object=True, **more)


def scene(*things: Thing) -> Scene:
    floor = Thing("floor", "plane", (8.0, 8.0, 0.1), (0.0, 0.0, -3.0), (0.8, 0.8, 0.8), backdrop=True)
    return Scene((floor, *things), Camera((0.0, -5.0, 1.0), (0.0, 0.0, 1.0)), Light((0.0, -3.0, 6.0)))


def see(what: Scene, frame: int = 0):
    track = simulate(what, FILM)
    return RayCamera(what, Puppets(what, track), FILM).see(frame)


def test_a_ball_covers_the_pixels_that_geometry_says():
    view = see(scene(ball()))
    angle = np.arcsin(0.4 / 5.0)
    radius_px = 32 / np.tan(np.deg2rad(21)) * np.tan(angle)
    assert view.unoccluded_px[1] == pytest.approx(np.pi * (radius_px + 0.5) ** 2, rel=0.06)  # a touched pixel counts
    assert (view.thing == 1).sum() == pytest.approx(np.pi * radius_px**2, rel=0.06)


def test_depth_is_measured_along_the_axis():
    view = see(scene(ball()))
    assert view.depth_m[32, 32] == pytest.approx(5.0 - 0.4, abs=0.01)


def test_a_thing_behind_a_panel_is_hidden_whole_and_still_measured():
    panel = Thing("panel", "box", (1.0, 0.05, 1.0), (0.0, -2.0, 1.0), (0.5, 0.5, 0.9), occluder=True)
    hidden, shown = see(scene(ball(), panel)), see(scene(ball()))
    assert hidden.visible_px[1] == 0
    assert hidden.unoccluded_px[1] == shown.unoccluded_px[1] == shown.visible_px[1] > 100


def test_what_is_hidden_leaves_no_trace_in_the_picture():
    panel = Thing("panel", "box", (1.5, 0.05, 1.5), (0.0, -2.0, 1.0), (0.5, 0.5, 0.9), occluder=True)
    assert np.array_equal(see(scene(panel, ball(z=1.0))).rgb, see(scene(panel)).rgb)


def test_a_moving_thing_casts_a_shadow_away_from_the_lamp():
    floor = Thing("floor", "plane", (8.0, 8.0, 0.1), (0.0, 0.0, 0.0), (0.8, 0.8, 0.8), backdrop=True)
    base = Scene((floor,), Camera((0.0, -5.0, 2.0)), Light((-3.0, 0.0, 5.0)))
    with_ball = see(base.with_things([ball(z=0.4)]))
    darker = (with_ball.rgb.astype(int) < see(base).rgb.astype(int) - 10).all(2) & (with_ball.thing == 0)
    assert np.nonzero(darker)[1].mean() > 36  # to the right of the ball, away from a lamp on the left


def test_a_rolling_ball_shows_that_it_rolls():
    stage = draw_stage(Dice("roll"), FILM, 1)
    rolling = body(stage, "one", "sphere", 0.8, (0.0, 0.0), (0.9, 0.3, 0.2), velocity_m_s=(1.5, 0.0, 0.0))
    sliding = replace(rolling, spin_rad_s=(0.0, 0.0, 0.0), friction=0.0)
    one, other = (shoot(stage.scene.with_things([thing]), FILM).frames[3] for thing in (rolling, sliding))
    assert (np.abs(one.astype(int) - other) > 20).any(2).sum() > 25


@pytest.mark.parametrize("level", [1, 2, 3])
def test_light_is_never_clipped(level):
    for seed in range(3):
        stage = draw_stage(Dice("light", seed), FILM, level)
        bright = body(stage, "one", "sphere", 0.8, (0.0, 0.0), stage.paint(stage.hue()))
        assert shoot(stage.scene.with_things([bright]), FILM).frames.max() < 255


def test_frames_do_not_depend_on_the_order_in_which_they_are_seen():
    for level in (1, 3):
        stage = draw_stage(Dice("order"), FILM, level)
        thing = body(stage, "one", "box", 0.7, (-0.4, 0.0), (0.2, 0.4, 0.9), velocity_m_s=(2.0, 0.0, 0.0))
        what = stage.scene.with_things([occluder(stage), thing])
        puppets = Puppets(what, simulate(what, FILM))
        camera = RayCamera(what, puppets, FILM)
        forwards = [camera.see(frame).rgb for frame in range(4)]
        backwards = [camera.see(frame).rgb for frame in reversed(range(4))]
        assert all(np.array_equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_a_screen_at_rest_looks_the_same_cached_or_not(monkeypatch):
    film = Format(64, 24, 12.0)
    stage = draw_stage(Dice("cache"), film, 1)
    thing = body(stage, "one", "sphere", 0.7, (-1.0, 0.1), (0.9, 0.4, 0.1), velocity_m_s=(1.0, 0.0, 0.0))
    what = stage.scene.with_things([curtain(stage), thing])
    cached = shoot(what, film)
    monkeypatch.setattr(camera_module, "LONG_FRAMES", 99)
    again = shoot(what, film)
    assert np.abs(cached.frames.astype(int) - again.frames).max() <= 1  # lamps are summed in another order
    assert np.array_equal(cached.visible_px, again.visible_px)
    assert np.array_equal(cached.unoccluded_px, again.unoccluded_px)
    assert np.array_equal(cached.segmentation, again.segmentation)
