"""The laws, against formulas."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.physics.base_scene import draw_stage
from data_prep.physics.bodies import body, plate, screen
from data_prep.physics.keyed_random import Dice
from data_prep.physics.object_sampling import arriving, draw_look
from data_prep.physics.scenes import Format
from data_prep.physics.world import simulate

FILM = Format(64, 24, 12.0)


@pytest.fixture
def stage():
    return draw_stage(Dice("laws"), FILM, 1)


def track_of(stage, *things):
    scene = stage.scene.with_things(things)
    track = simulate(scene, FILM)
    return track, track.names.index("one")


def test_a_thing_in_the_air_falls_by_half_g_t_squared(stage):
    one = body(stage, "one", "box", 0.6, (0.0, 0.0), (1, 0, 0), on_m=4.0)
    track, index = track_of(stage, one)
    times = np.arange(8) / FILM.fps
    expected = one.position_m[2] - 9.81 * times**2 / 2
    assert track.position_m[:8, index, 2] == pytest.approx(expected, abs=0.02)
    assert not track.contact[:8, index].any()


def test_a_rolling_ball_keeps_its_pace(stage):
    track, index = track_of(stage, body(stage, "one", "sphere", 0.7, (-1.8, 0.0), (1, 0, 0), velocity_m_s=(1.8, 0, 0)))
    assert track.position_m[-1, index, 0] == pytest.approx(-1.8 + 1.8 * 23 / 12, abs=0.03)


def test_a_bouncy_thing_comes_back_from_a_wall_nearly_as_fast(stage):
    one = body(stage, "one", "cylinder", 0.7, (-1.5, 0.0), (1, 0, 0), velocity_m_s=(2.0, 0, 0), bouncy=True, friction=1e-4)
    track, index = track_of(stage, one, plate(stage, "wall between", 0.0, 0.0, 1.5, (0.5, 0.4, 0.3)))
    assert track.velocity_m_s[-1, index, 0] == pytest.approx(-2.0, abs=0.25)
    assert track.contact[:, index, track.names.index("wall between")].any()


def test_friction_stops_an_arriving_thing_where_and_when_it_should(stage):
    one = arriving(stage, "one", draw_look(stage, "cylinder"), -1, (0.1, 0.0), 1.0)
    track, index = track_of(stage, one)
    assert track.position_m[-1, index, 0] == pytest.approx(0.1, abs=0.08)
    assert np.abs(track.velocity_m_s[14:, index]).max() < 0.05


def test_a_screen_is_where_its_path_says(stage):
    one = screen(stage, up_s=1.0, takes_s=0.5, half_height_m=0.6, name="one")
    track, index = track_of(stage, one)
    height = track.position_m[:, index, 2]
    assert height[0] == height[6] == pytest.approx(-0.62)
    assert height[12] == height[-1] == pytest.approx(0.6)
    assert height[9] == pytest.approx((0.6 - 0.62) / 2)


def test_the_same_scene_moves_the_same(stage):
    one = body(stage, "one", "box", 0.6, (0.0, 0.0), (1, 0, 0), on_m=1.0, velocity_m_s=(1.0, 0.3, 0.0))
    first, second = (track_of(stage, one)[0] for _ in range(2))
    assert np.array_equal(first.position_m, second.position_m)
    assert np.array_equal(first.quaternion, second.quaternion)
