"""What the camera renders, against geometry worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import sample_base_scene
from data_prep.physics.worlds.builtin.bodies import Appearance, body
from data_prep.physics.worlds.builtin.occluders import occluder, temporary_screen
from data_prep.physics.worlds.builtin.rendering import camera as camera_module
from data_prep.physics.worlds.builtin.rendering.camera import RayCamera
from data_prep.physics.worlds.builtin.rendering.video import render_video
from data_prep.physics.worlds.builtin.scenes import Camera, Entity, Light, Scene
from data_prep.physics.worlds.builtin.simulation import PosedModel, simulate

VIDEO = VideoFormat(64, 4, 12.0)


def ball(z: float = 1.0) -> Entity:
    return Entity("ball", "sphere", (0.4,), (0.0, 0.0, z), (0.9, 0.2, 0.1), "free", is_object=True)


def scene_of(*entities: Entity) -> Scene:
    floor = Entity("floor", "plane", (8.0, 8.0, 0.1), (0.0, 0.0, -3.0), (0.8, 0.8, 0.8), is_backdrop=True)
    return Scene((floor, *entities), Camera((0.0, -5.0, 1.0), (0.0, 0.0, 1.0)), Light((0.0, -3.0, 6.0)))


def render(scene: Scene, frame: int = 0):
    trajectory = simulate(scene, VIDEO)
    return RayCamera(scene, PosedModel(scene, trajectory), VIDEO).render(frame)


def one_body(base, shape, width_m, at_m, colour, **options) -> Entity:
    return body(base, "one", Appearance(shape, 0.0, colour), at_m, width_m=width_m, **options)


def test_a_ball_covers_the_pixels_that_geometry_says():
    view = render(scene_of(ball()))
    angle = np.arcsin(0.4 / 5.0)
    radius_px = 32 / np.tan(np.deg2rad(21)) * np.tan(angle)
    assert view.unoccluded_px[1] == pytest.approx(np.pi * (radius_px + 0.5) ** 2, rel=0.06)  # a touched pixel counts
    assert (view.entity == 1).sum() == pytest.approx(np.pi * radius_px**2, rel=0.06)


def test_depth_is_measured_along_the_axis():
    view = render(scene_of(ball()))
    assert view.depth_m[32, 32] == pytest.approx(5.0 - 0.4, abs=0.01)


def test_the_unoccluded_pixels_of_a_hidden_entity_are_counted():
    panel = Entity("panel", "box", (1.0, 0.05, 1.0), (0.0, -2.0, 1.0), (0.5, 0.5, 0.9), is_occluder=True)
    hidden, shown = render(scene_of(ball(), panel)), render(scene_of(ball()))
    assert hidden.visible_px[1] == 0
    assert hidden.unoccluded_px[1] == shown.unoccluded_px[1] == shown.visible_px[1] > 100


def test_a_hidden_entity_changes_no_pixel():
    panel = Entity("panel", "box", (1.5, 0.05, 1.5), (0.0, -2.0, 1.0), (0.5, 0.5, 0.9), is_occluder=True)
    assert np.array_equal(render(scene_of(panel, ball(z=1.0))).rgb, render(scene_of(panel)).rgb)


def test_a_moving_entity_casts_a_shadow_away_from_the_lamp():
    floor = Entity("floor", "plane", (8.0, 8.0, 0.1), (0.0, 0.0, 0.0), (0.8, 0.8, 0.8), is_backdrop=True)
    plain = Scene((floor,), Camera((0.0, -5.0, 2.0)), Light((-3.0, 0.0, 5.0)))
    with_ball = render(plain.with_entities([ball(z=0.4)]))
    darker = (with_ball.rgb.astype(int) < render(plain).rgb.astype(int) - 10).all(2) & (with_ball.entity == 0)
    assert np.nonzero(darker)[1].mean() > 36  # to the right of the ball, away from a lamp on the left


def test_the_rolling_of_a_ball_is_visible():
    base = sample_base_scene(KeyedRandom("roll"), VIDEO, 1)
    rolling = one_body(base, "sphere", 0.8, (0.0, 0.0), (0.9, 0.3, 0.2), velocity_m_s=(1.5, 0.0, 0.0))
    sliding = replace(rolling, spin_rad_s=(0.0, 0.0, 0.0), friction=0.0)
    one, other = (render_video(base.scene.with_entities([entity]), VIDEO).frames[3] for entity in (rolling, sliding))
    assert (np.abs(one.astype(int) - other) > 20).any(2).sum() > 25


@pytest.mark.parametrize("level", [1, 2, 3])
def test_light_is_never_clipped(level):
    for seed in range(3):
        base = sample_base_scene(KeyedRandom("light", seed), VIDEO, level)
        bright = one_body(base, "sphere", 0.8, (0.0, 0.0), base.sample_colour(base.sample_hue()))
        assert render_video(base.scene.with_entities([bright]), VIDEO).frames.max() < 255


def test_frames_do_not_depend_on_the_order_of_rendering():
    for level in (1, 3):
        base = sample_base_scene(KeyedRandom("order"), VIDEO, level)
        entity = one_body(base, "box", 0.7, (-0.4, 0.0), (0.2, 0.4, 0.9), velocity_m_s=(2.0, 0.0, 0.0))
        scene = base.scene.with_entities([occluder(base), entity])
        posed = PosedModel(scene, simulate(scene, VIDEO))
        camera = RayCamera(scene, posed, VIDEO)
        forwards = [camera.render(frame).rgb for frame in range(4)]
        backwards = [camera.render(frame).rgb for frame in reversed(range(4))]
        assert all(np.array_equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_a_screen_at_rest_looks_the_same_cached_or_not(monkeypatch):
    video = VideoFormat(64, 24, 12.0)
    base = sample_base_scene(KeyedRandom("cache"), video, 1)
    entity = one_body(base, "sphere", 0.7, (-1.0, 0.1), (0.9, 0.4, 0.1), velocity_m_s=(1.0, 0.0, 0.0))
    scene = base.scene.with_entities([temporary_screen(base), entity])
    cached = render_video(scene, video)
    monkeypatch.setattr(camera_module, "MIN_CACHED_FRAMES", 99)
    again = render_video(scene, video)
    assert np.abs(cached.frames.astype(int) - again.frames).max() <= 1  # the light of the lamps is added in another order
    assert np.array_equal(cached.visible_px, again.visible_px)
    assert np.array_equal(cached.unoccluded_px, again.unoccluded_px)
    assert np.array_equal(cached.segmentation, again.segmentation)
