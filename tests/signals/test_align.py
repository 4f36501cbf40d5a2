"""Blocks of actions between frames, and states at frames."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.signals import Channel, SignalError, Signals, action_blocks, state_differences, states_at
from worldmodel.signals.align import with_state_differences

XY, ANGLE = Channel(("x", "y"), ("px", "px")), Channel(("angle",), ("rad",))


def made(rows: int = 13, step_s: float = 0.1, first_s: float = 0.0) -> Signals:
    """Row i: action [i, -i], state [100 + i]; no action in the last row."""
    numbers = np.arange(rows, dtype=np.float64)
    actions = np.stack([numbers, -numbers], 1)
    actions[-1] = np.nan
    return Signals("a.parquet", first_s + numbers * step_s, actions, 100 + numbers[:, None], XY, ANGLE)


def test_one_action_between_frames_at_the_recorded_rate():
    blocks = action_blocks(made(), np.arange(13) / 10)
    assert blocks[..., 0].tolist() == [[i] for i in range(12)]
    assert blocks[..., 1].tolist() == [[-i] for i in range(12)]


def test_all_actions_between_frames_that_are_several_steps_apart():
    """Frames 0.4 s apart, actions every 0.1 s: the four actions from the earlier frame on, before the later one."""
    assert action_blocks(made(), [0.0, 0.4, 0.8, 1.2])[..., 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert action_blocks(made(), [0.3, 0.6])[..., 0].tolist() == [[3, 4, 5]]


def test_times_rounded_to_float32_or_milliseconds_give_the_same_rows():
    rate = 29.97
    exact = made(40, 1 / rate)
    frames = np.arange(0, 40, 3) / rate
    wanted = action_blocks(exact, frames)[..., 0].tolist()
    assert wanted == [[i, i + 1, i + 2] for i in range(0, 39, 3)]
    assert action_blocks(exact, frames.astype(np.float32))[..., 0].tolist() == wanted
    assert action_blocks(exact, frames.round(3))[..., 0].tolist() == wanted


def test_an_action_is_held_until_the_next_where_the_rates_differ():
    """Actions at 10 Hz, frames at 25 Hz: one action per frame, the one that is applied when it is shown."""
    assert action_blocks(made(), np.arange(6) / 25)[..., 0].tolist() == [[0], [0], [0], [1], [1]]
    # actions at 10 Hz, frames at 4 Hz: 2.5 steps, rounded to 2
    assert action_blocks(made(), [0.0, 0.25, 0.5])[..., 0].tolist() == [[0, 1], [2, 3]]


def test_no_action_is_doubled_or_left_out_where_recorded_times_jitter():
    rng = np.random.default_rng(0)
    for _ in range(20):
        signals = made(21)
        signals.time_s[1:-1] += rng.uniform(-0.03, 0.03, 19)
        assert action_blocks(signals, np.arange(11) / 5)[..., 0].ravel().tolist() == list(range(20))


def test_another_number_of_actions_between_frames_than_the_model_takes_is_refused():
    """Actions at 30 Hz, frames at 5 Hz: three of the six actions of a block would be left out."""
    with pytest.raises(SignalError, match="6 actions lie between two frames, recorded 30 times a second; expected 2"):
        action_blocks(made(31, 1 / 30), [0.0, 0.2, 0.4], 2)


def test_a_later_action_changes_no_block_before_it():
    frames, signals = [0.0, 0.4, 0.8], made()
    before = action_blocks(signals, frames)
    signals.actions[8:] = 1000
    np.testing.assert_array_equal(action_blocks(signals, frames), before)


def test_frames_beyond_the_recorded_actions_are_an_error():
    with pytest.raises(SignalError, match=r"frames from 1.000 to 2.000 s were asked for; .* from 0.000 to 1.300 s"):
        action_blocks(made(), [1.0, 2.0])
    with pytest.raises(SignalError, match=r"frames from 0\.000"):
        action_blocks(made(first_s=0.5), [0.0, 1.0])
    with pytest.raises(SignalError, match=r"action x is nan at 1.200 s"):
        action_blocks(made(), [1.2, 1.3])  # the action after the last step


def test_frames_without_order_are_refused():
    with pytest.raises(ValueError, match="expected two or more, in increasing order"):
        action_blocks(made(), [0.4, 0.2])


def test_states_are_those_of_the_frames():
    assert states_at(made(), [0.0, 0.3, 1.2])[:, 0].tolist() == [100, 103, 112]
    assert states_at(made(), [0.32, 0.36])[:, 0].tolist() == [103, 104]  # the nearest, not a mixture: it may be an angle
    with pytest.raises(SignalError, match=r"no state within 0.100 s of the frame at 1.500 s"):
        states_at(made(), [1.5])


def test_a_state_that_is_not_a_number_is_named_with_its_time():
    signals = made()
    signals.states[3] = np.inf
    with pytest.raises(SignalError, match=r"a.parquet: state angle is inf at 0.300 s; expected numbers"):
        states_at(signals, [0.0, 0.3])


def test_differences_of_states_by_hand_and_angles_take_the_shorter_way():
    pose = Channel(("x", "turn", "joint"), ("m", "deg", "rad"))
    now, later = np.array([[1.0, 350.0, -3.0], [2.0, 10.0, 0.5]]), np.array([[1.5, 10.0, 3.0], [0.0, 350.0, 1.0]])
    expected = [[0.5, 20.0, 6.0 - 2 * np.pi], [-2.0, -20.0, 0.5]]
    np.testing.assert_allclose(state_differences(now, later, pose), expected)


def test_differences_over_a_time_are_missing_where_nothing_was_recorded_so_much_later():
    """States 0, 1, 4, 9, 16 at 10 Hz: over 0.2 s they change by 4, 8 and 12."""
    states = np.arange(5.0)[:, None] ** 2
    plain = Signals("a.parquet", np.arange(5) / 10, np.zeros((5, 2)), states, XY, Channel(("x",), ("m",)))
    found = with_state_differences(plain, 0.2)
    np.testing.assert_array_equal(found.actions[:, 0], [4, 8, 12, np.nan, np.nan])
    assert found.action == Channel(("x",), ("m",))
    np.testing.assert_array_equal(found.states, states)
