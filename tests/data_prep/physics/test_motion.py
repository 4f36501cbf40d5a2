"""Motion in closed form, against formulas."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.physics.motion import (
    FLOOR,
    GRAVITY_M_S2,
    ROLLING,
    down_ramp,
    falling,
    flying,
    launched,
    stopping,
    track,
    until_wall,
)

TIMES_S = np.arange(24) / 12
FINE_S = np.linspace(0, 2, 2001)


def test_a_body_in_the_air_falls_by_half_g_t_squared():
    height = track(falling(0.0, 4.0, 0.5, 0.3), TIMES_S[:8]).position_m[:, 1]
    assert height == pytest.approx(4.0 + 0.5 * TIMES_S[:8] - GRAVITY_M_S2 * TIMES_S[:8] ** 2 / 2)


def test_each_bounce_reaches_the_square_of_the_restitution_of_the_height_before():
    path = falling(0.0, 2.3, 0.0, 0.3, restitution=0.6)
    height = track(path, FINE_S).position_m[:, 1]
    first_hit = path[1].start_s
    after = first_hit < FINE_S
    assert height.min() == pytest.approx(0.3, abs=1e-2)
    assert height[after].max() - 0.3 == pytest.approx(0.36 * 2.0, rel=1e-4)
    assert path[1].hits == FLOOR


def test_a_body_touches_the_floor_in_the_frame_after_the_impact_only():
    path = falling(0.0, 2.3, 0.0, 0.3, restitution=0.8)
    supported = track(path, TIMES_S).supported
    hit = int(np.searchsorted(TIMES_S, path[1].start_s))
    assert supported[hit]
    assert not supported[hit - 1]
    assert not supported[hit + 1]


def test_a_disc_leaves_a_ramp_with_the_energy_of_rolling():
    radius, slope, half_length = 0.37, np.deg2rad(30), 0.55
    path = down_ramp(3.0, 0.0, radius, 1, slope, half_length, "ramp")
    landing_z, (end_x, end_z) = path[1].position_m[1], path[2].position_m
    along = path[2].velocity_m_s[0] / np.cos(slope)
    assert along**2 == pytest.approx(2 * ROLLING * GRAVITY_M_S2 * (landing_z - radius))
    assert end_z == radius
    assert end_x == pytest.approx(half_length + radius * np.tan(slope / 2))  # it touches the ramp and the floor there
    assert track(path, TIMES_S).touched[-1] == frozenset()
    assert "ramp" in track(path, np.array([0.0, path[1].start_s + 0.01])).touched[1]


def test_friction_stops_a_body_at_the_given_place_and_time():
    own = track(stopping(-1, 0.1, 1.0, 0.3), TIMES_S)
    assert own.position_m[12:, 0] == pytest.approx(0.1)
    assert own.velocity_m_s[12:] == pytest.approx(0)
    assert (np.diff(np.abs(own.velocity_m_s[:12, 0])) < 0).all()


def test_a_bouncing_body_keeps_its_speed_and_another_one_stops_at_the_wall():
    back, held = (track(until_wall(-1, 1.8, 1.0, -0.5, 0.3, "wall", bounces=bounces), TIMES_S) for bounces in (True, False))
    assert back.velocity_m_s[0, 0] == -back.velocity_m_s[-1, 0] == 1.8
    assert back.position_m[:, 0].max() <= -0.5 + 1e-9
    assert held.position_m[-1, 0] == -0.5
    assert [names for names in back.touched if names] == [frozenset({"wall"})]
    assert held.touched[-1] == frozenset({"wall"})


def test_a_struck_disc_takes_over_the_momentum_of_the_one_that_stops():
    struck = track(launched(-0.2, 0.37, 1.0, 1.9, "striker"), TIMES_S)
    striker = track(until_wall(-1, 1.9, 1.0, -0.94, 0.37, "struck", bounces=False), TIMES_S)
    total = struck.velocity_m_s[:, 0] + striker.velocity_m_s[:, 0]
    assert total == pytest.approx(1.9)
    assert (struck.position_m[:, 0] - striker.position_m[:, 0]).min() == pytest.approx(0.74)


def test_a_flight_passes_the_given_point():
    own = track(flying(1, 3.0, 1.0, 2.0, 1.5, 0.4, 2.0), np.array([1.0]))
    assert own.position_m[0] == pytest.approx([0.0, 2.0])
    assert own.velocity_m_s[0] == pytest.approx([-3.0, 1.5])


@pytest.mark.parametrize("rise_m_s", [1.5, -1.5])
def test_a_flight_bounces_off_the_floor_to_the_same_height_again_and_again(rise_m_s):
    own = track(flying(-1, 2.0, 1.0, 2.0, rise_m_s, 0.4, 2.0), FINE_S)
    height = own.position_m[:, 1]
    assert height.min() == pytest.approx(0.4, abs=1e-2)
    assert height.max() == pytest.approx(2.0 + 1.5**2 / (2 * GRAVITY_M_S2), abs=1e-4)
    assert np.abs(np.diff(height)).max() < 7.0 * 0.001  # no jumps: it is never faster than about 6 m/s
    assert own.velocity_m_s[:, 0] == pytest.approx(2.0)
    assert own.supported[1:].sum() >= 1
