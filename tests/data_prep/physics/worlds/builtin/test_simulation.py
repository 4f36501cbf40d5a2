"""The simulation, against formulas."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import sample_base_scene
from data_prep.physics.worlds.builtin.bodies import Appearance, body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance, stopping_body
from data_prep.physics.worlds.builtin.occluders import screen
from data_prep.physics.worlds.builtin.simulation import simulate
from data_prep.physics.worlds.builtin.structures import wall

VIDEO = VideoFormat(64, 24, 12.0)


@pytest.fixture
def base():
    return sample_base_scene(KeyedRandom("laws"), VIDEO, 1)


def simulate_one(base, *entities):
    """The trajectory of these entities, and the index of the one named "one"."""
    scene = base.scene.with_entities(entities)
    trajectory = simulate(scene, VIDEO)
    return trajectory, trajectory.names.index("one")


def red_body(base, shape, width_m, at_m, **options):
    return body(base, "one", Appearance(shape, 0.0, (1, 0, 0)), at_m, width_m=width_m, **options)


def test_a_body_in_the_air_falls_by_half_g_t_squared(base):
    one = red_body(base, "box", 0.6, (0.0, 0.0), on_m=4.0)
    trajectory, index = simulate_one(base, one)
    times = np.arange(8) / VIDEO.fps
    expected = one.position_m[2] - 9.81 * times**2 / 2
    assert trajectory.position_m[:8, index, 2] == pytest.approx(expected, abs=0.02)
    assert not trajectory.contact[:8, index].any()


def test_a_rolling_ball_keeps_its_speed(base):
    trajectory, index = simulate_one(base, red_body(base, "sphere", 0.7, (-1.8, 0.0), velocity_m_s=(1.8, 0, 0)))
    assert trajectory.position_m[-1, index, 0] == pytest.approx(-1.8 + 1.8 * 23 / 12, abs=0.03)


def test_an_elastic_body_bounces_off_a_wall_at_nearly_the_same_speed(base):
    one = red_body(base, "cylinder", 0.7, (-1.5, 0.0), velocity_m_s=(2.0, 0, 0), elastic=True, friction=1e-4)
    trajectory, index = simulate_one(base, one, wall(base, "wall between", 0.0, 0.0, 1.5, (0.5, 0.4, 0.3)))
    assert trajectory.velocity_m_s[-1, index, 0] == pytest.approx(-2.0, abs=0.25)
    assert trajectory.contact[:, index, trajectory.names.index("wall between")].any()


def test_friction_stops_a_body_at_the_given_position_and_time(base):
    one = stopping_body(base, "one", sample_appearance(base, "cylinder"), -1, (0.1, 0.0), 1.0)
    trajectory, index = simulate_one(base, one)
    assert trajectory.position_m[-1, index, 0] == pytest.approx(0.1, abs=0.08)
    assert np.abs(trajectory.velocity_m_s[14:, index]).max() < 0.05


def test_a_screen_is_where_its_path_says(base):
    one = screen(base, up_s=1.0, move_s=0.5, half_height_m=0.6, name="one")
    trajectory, index = simulate_one(base, one)
    height = trajectory.position_m[:, index, 2]
    assert height[0] == height[6] == pytest.approx(-0.62)
    assert height[12] == height[-1] == pytest.approx(0.6)
    assert height[9] == pytest.approx((0.6 - 0.62) / 2)


def test_a_simulation_is_repeatable(base):
    one = red_body(base, "box", 0.6, (0.0, 0.0), on_m=1.0, velocity_m_s=(1.0, 0.3, 0.0))
    first, second = (simulate_one(base, one)[0] for _ in range(2))
    assert np.array_equal(first.position_m, second.position_m)
    assert np.array_equal(first.quaternion, second.quaternion)
