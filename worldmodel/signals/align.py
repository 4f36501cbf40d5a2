"""Actions, states and differences of states at the times of sampled frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldmodel.signals.table import Channel, SignalError, Signals

_EARLY = 0.1  # of a recorded step: a row counts from this much before its time, which files round to float32 or milliseconds
_JITTER = 0.501  # of a recorded step: how far a row may lie from its time at most
_FULL_TURNS = {"rad": 2 * np.pi, "radian": 2 * np.pi, "radians": 2 * np.pi, "deg": 360.0, "degree": 360.0, "degrees": 360.0}


def action_blocks(signals: Signals, times_s: ArrayLike, actions_per_step: int | None = None) -> NDArray[np.float64]:
    """All actions between frames that follow one another: times [T] -> [T - 1, actions_per_step, A].

    actions_per_step: default is the time between frames divided by the recorded step, rounded, at
    least 1. Where that many actions are recorded between frames, the blocks are exactly these, also where
    recorded times jitter. Otherwise a block has the actions that are applied at evenly spaced times
    between the frames, each being held until the next. Raises SignalError where another number of
    actions was recorded between frames than is asked for, where an action is not a number, and where
    the frames reach beyond what was recorded.
    """
    times = _increasing(times_s)
    gaps, step_s = np.diff(times), signals.step_s
    recorded = max(1, round(float(np.median(gaps)) / step_s))
    count = actions_per_step or recorded
    check_rate(signals, recorded, count)
    sampled = times[:-1, None] + gaps[:, None] * (np.arange(count) / count)
    rows = _consecutive_rows(signals, sampled)
    if rows is None:
        rows = np.searchsorted(signals.time_s, sampled + _EARLY * step_s, side="right") - 1
    last_s = signals.time_s[-1] + step_s
    if rows.min() < 0 or float(times[-1]) > last_s + _EARLY * step_s:
        raise SignalError(
            signals.path,
            "not recorded",
            f"frames from {times[0]:.3f} to {times[-1]:.3f} s were asked for; actions are recorded from "
            f"{signals.time_s[0]:.3f} to {last_s:.3f} s",
        )
    blocks = signals.actions[rows]
    _check_numbers(signals, blocks, "action", signals.action.names, rows)
    return blocks


def check_rate(signals: Signals, recorded: int, expected: int) -> None:
    """Raise SignalError where another number of actions was recorded between two frames than expected."""
    if recorded != expected:
        detail = (
            f"{recorded} actions lie between two frames, recorded {1 / signals.step_s:.4g} times a second; expected {expected}"
        )
        raise SignalError(signals.path, "other rate", detail)


def _consecutive_rows(signals: Signals, sampled: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """One row after another for times [T - 1, K]; None where one lies more than half a step from its time.

    Recorded times jitter. Rows that are found by their own times would then be doubled or left out.
    """
    times = signals.time_s
    after = int(np.clip(np.searchsorted(times, sampled[0, 0]), 1, len(times) - 1))
    first = after - int(sampled[0, 0] - times[after - 1] <= times[after] - sampled[0, 0])
    rows = first + np.arange(sampled.size)
    if rows[-1] >= len(times):
        return None
    distance = np.abs(times[rows] - sampled.ravel())
    return rows.reshape(sampled.shape) if distance.max() <= _JITTER * signals.step_s else None


def states_at(signals: Signals, times_s: ArrayLike) -> NDArray[np.float64]:
    """The states recorded nearest to the times of frames: [T] -> [T, S]. Not interpolated, since states may be angles.

    Raises SignalError where a state is not a number, or the nearest is more than a recorded step away.
    """
    times = np.asarray(times_s, np.float64)
    after = np.clip(np.searchsorted(signals.time_s, times), 1, len(signals.time_s) - 1)
    is_before = times - signals.time_s[after - 1] <= signals.time_s[after] - times
    rows = np.where(is_before, after - 1, after)
    distance = np.abs(signals.time_s[rows] - times)
    if distance.max(initial=0.0) > signals.step_s * (1 + _EARLY):
        at = float(times[distance.argmax()])
        raise SignalError(signals.path, "not recorded", f"no state within {signals.step_s:.3f} s of the frame at {at:.3f} s")
    states = signals.states[rows]
    _check_numbers(signals, states, "state", signals.state.names, rows)
    return states


def state_differences(now: ArrayLike, later: ArrayLike, channel: Channel) -> NDArray[np.float64]:
    """What is added to states [..., S] to come to later ones: [..., S]. Numbers in rad or deg take the shorter way round."""
    differences = np.asarray(later, np.float64) - np.asarray(now, np.float64)
    for number, unit in enumerate(channel.units):
        period = _FULL_TURNS.get(unit.lower())
        if period is not None:
            own = differences[..., number]
            differences[..., number] = np.where(np.abs(own) > period / 2, (own + period / 2) % period - period / 2, own)
    return differences


def without_actions(signals: Signals) -> Signals:
    """The same states, with actions of no numbers."""
    return replace(signals, actions=np.zeros((len(signals.time_s), 0)), action=Channel((), ()))


def with_state_differences(signals: Signals, between_s: float) -> Signals:
    """The same states, with their differences over a time as actions; NaN where nothing was recorded so much later."""
    later_s = signals.time_s + between_s
    known = later_s <= signals.time_s[-1] + _EARLY * signals.step_s
    actions = np.full(signals.states.shape, np.nan)
    if known.any():
        actions[known] = state_differences(signals.states[known], states_at(signals, later_s[known]), signals.state)
    return replace(signals, actions=actions, action=signals.state)


def _increasing(times_s: ArrayLike) -> NDArray[np.float64]:
    times = np.asarray(times_s, np.float64)
    if times.ndim != 1 or len(times) < 2 or not (np.diff(times) > 0).all():
        raise ValueError(f"frame times {times.tolist()[:4]}: expected two or more, in increasing order")
    return times


def _check_numbers(
    signals: Signals, values: NDArray[np.float64], kind: str, names: Sequence[str], rows: NDArray[np.intp]
) -> None:
    bad = ~np.isfinite(values)
    if not bad.any():
        return
    first = tuple(int(index[0]) for index in np.nonzero(bad))  # of frame, number in the block, number of the action
    at_s = signals.time_s[rows[first[:-1]]]
    raise SignalError(
        signals.path, "not a number", f"{kind} {names[first[-1]]} is {values[first]} at {at_s:.3f} s; expected numbers"
    )
