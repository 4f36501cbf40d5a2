"""Linear extrapolation of positions, worked by hand."""

import numpy as np

from eval.probes.constant_velocity import extrapolate, last_seen_position


def test_constant_velocity_by_hand():
    centre = np.array([[[0.0, 0.0], [2.0, 1.0], [9.0, 9.0]]])
    visible = np.array([[True, True, False]])  # last visible at step 1, moving by (2, 1) per step; the context has three steps
    position, per_step = extrapolate(centre, visible, 2)
    assert position.tolist() == [[8.0, 4.0]]  # step 4: three steps later
    assert per_step.tolist() == [[2.0, 1.0]]
    assert last_seen_position(centre, visible).tolist() == [[2.0, 1.0]]


def test_a_gap_between_the_last_two_visible_steps_counts_as_time():
    centre = np.array([[[0.0, 0.0], [5.0, 5.0], [4.0, 0.0]]])
    assert extrapolate(centre, np.array([[True, False, True]]), 1)[0].tolist() == [[6.0, 0.0]]
