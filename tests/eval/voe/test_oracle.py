"""The rules of the oracle on bodies in each other and below the floor."""

from __future__ import annotations

import numpy as np

from data_prep.physics.motion import falling, passing, resting, track
from eval.voe.oracle import violations

FPS = 12.0
HALF_M = 0.35


def truth_of(*paths, lanes_m=(0.0, 0.0), shape="sphere", fps=FPS, in_picture=True):
    """The ground truth of bodies that follow paths in planes at these y."""
    times_s, count = np.arange(24) / fps, len(paths)
    tracks = [track(path, times_s) for path in paths]
    position, velocity = np.zeros((2, 24, count, 3))
    for index, own in enumerate(tracks):
        position[:, index, ::2], velocity[:, index, ::2] = own.position_m, own.velocity_m_s
        position[:, index, 1] = lanes_m[index]
    touching = np.stack([own.supported for own in tracks], axis=1)
    return {
        "names": np.array([f"body {index}" for index in range(count)]),
        "shape": np.array([shape] * count),
        "fixed": np.zeros(count, bool),
        "half_size_m": np.full((count, 3), HALF_M),
        "present": np.ones((24, count), bool),
        "position_m": position,
        "velocity_m_s": velocity,
        "quaternion": np.tile([1.0, 0.0, 0.0, 0.0], (24, count, 1)),
        "contact": np.zeros((24, count, count), bool),
        "touching": touching,
        "unoccluded_px": np.full((24, count), 9 if in_picture else 0),
    }


def test_two_bodies_that_pass_through_each_other_are_found_once_per_frame():
    found = violations(truth_of(passing(-1, 2.0, 1.0, HALF_M), passing(1, 2.0, 1.0, HALF_M), lanes_m=(-0.12, 0.32)), FPS)
    assert found
    assert all(message.endswith("body 0 is inside body 1") for message in found)
    assert len(found) == len(set(found))


def test_bodies_that_pass_beside_each_other_or_touch_are_not_inside_each_other():
    assert not violations(truth_of(passing(-1, 2.0, 1.0, HALF_M), passing(1, 2.0, 1.0, HALF_M), lanes_m=(-0.35, 0.35)), FPS)
    assert not violations(truth_of(resting(0.0, HALF_M), resting(2 * HALF_M, HALF_M)), FPS)


def test_a_body_below_the_floor_is_found_where_the_picture_shows_it():
    sunk = passing(-1, 2.0, 1.0, HALF_M - 0.1)
    assert violations(truth_of(sunk), FPS)[0] == "frame 0: body 0 is below the floor"
    assert not violations(truth_of(sunk, in_picture=False), FPS)


def test_a_triangle_stands_on_the_floor_though_its_middle_is_lower_than_that_of_a_disc():
    low = passing(-1, 2.0, 1.0, 0.6 * HALF_M)
    assert not violations(truth_of(low, shape="triangle"), FPS)
    assert violations(truth_of(low, shape="disc"), FPS)


def test_a_bounce_within_a_long_frame_is_not_a_jump():
    for drop_m in np.linspace(1.0, 3.0, 9):
        assert not violations(truth_of(falling(0.0, drop_m, 0.0, HALF_M, restitution=0.9), fps=5.0), 5.0)
