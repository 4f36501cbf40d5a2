"""Policies of the hidden object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from data_prep.environments.hidden_object.geometry import (
    HAND,
    HAND_RANGE_PX,
    LEAD_IN_STEPS,
    LEFT,
    MAX_STEP_PX,
    MIDDLE_PX,
    OBJECT,
    RIGHT,
    SCREEN_HALF_PX,
    Array,
)

MIDDLE_FRACTION = 0.8  # of the targets that follow a target behind a screen
SCREEN_FRACTION = 0.8  # of the other targets
SPEED_FRACTION = (0.7, 1.1)  # range of the speed towards a target, of the longest step, to which it is shortened
NOISE_PX = 0.4
LONGEST_STOP = 3  # steps in the middle before the next target

Act = Callable[[Any, dict[str, Any]], Array]


def fetch(states: Array, goal_x: Array) -> Array:
    """The action of a hand that knows where the object is: to the object, then with it to the goal: [..., 1]."""
    hand, thing = states[..., HAND], states[..., OBJECT]
    target = np.where(hand == thing, goal_x, thing)
    return np.clip(target - hand, -MAX_STEP_PX, MAX_STEP_PX)[..., None]


def scripted(environment: Any, rng: np.random.Generator) -> Act:
    """Wait until the object is at rest, fetch it and stay in the middle."""
    step = 0

    def act(observation: Any, info: dict[str, Any]) -> Array:
        nonlocal step
        step += 1
        return np.zeros(1) if step <= LEAD_IN_STEPS else fetch(np.asarray(observation), np.float64(MIDDLE_PX))

    return act


def training_data(environment: Any, rng: np.random.Generator) -> Act:
    """Wait, then move to random targets: mostly behind one of the screens and back, whether the object is there or not."""
    step, stop, target, speed, was_screen = 0, 0, MIDDLE_PX, 0.0, False

    def choose(state: Array) -> None:
        nonlocal target, speed, stop, was_screen
        draw = rng.random()
        speed = MAX_STEP_PX * rng.uniform(*SPEED_FRACTION)
        stop = 0
        if was_screen and draw < MIDDLE_FRACTION:
            target, was_screen, stop = MIDDLE_PX, False, int(rng.integers(LONGEST_STOP + 1))
        elif not was_screen and draw < SCREEN_FRACTION:
            screen = state[LEFT] if rng.random() < 0.5 else state[RIGHT]
            target, was_screen = screen + rng.uniform(-SCREEN_HALF_PX, SCREEN_HALF_PX) / 2, True
        else:
            target, was_screen = rng.uniform(*HAND_RANGE_PX), False

    def act(observation: Any, info: dict[str, Any]) -> Array:
        nonlocal step, stop
        step += 1
        if step <= LEAD_IN_STEPS:
            return np.zeros(1)
        state = np.asarray(observation, np.float64)
        is_there = abs(target - state[HAND]) < 1
        if step == LEAD_IN_STEPS + 1 or (is_there and stop == 0):
            choose(state)
        elif is_there:
            stop -= 1
        towards = np.clip(target - state[HAND], -speed, speed) + rng.normal(0.0, NOISE_PX)
        return np.clip([towards], -MAX_STEP_PX, MAX_STEP_PX)

    return act
