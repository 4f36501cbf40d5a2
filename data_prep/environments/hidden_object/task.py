"""Planning with a hidden object: bring it to the middle of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from data_prep.environments.hidden_object import geometry, policies
from data_prep.environments.hidden_object.geometry import MIDDLE_PX, OBJECT, Array
from data_prep.environments.tasks import Criterion, Variation


class HiddenObjectTask:
    """States are those of the environment. It implements WatchedTask: the object is seen going away before a plan is made."""

    unit = "px"
    to_go_is_exact = True  # what the hand must move to fetch the object and to bring it to the goal
    budget = geometry.BUDGET_STEPS
    max_norm: float | None = None
    criteria = (
        Criterion("moderate", geometry.SUCCESS_PX, "last"),
        Criterion("strict", geometry.STRICT_SUCCESS_PX, "last"),
    )
    variations: tuple[Variation, ...] = ()
    lead_in_steps = geometry.LEAD_IN_STEPS

    def members(self, start: Array) -> tuple[Array, ...]:
        return geometry.members(start)

    def own_goal(self, state: Array, info: Mapping[str, Any]) -> Array:
        """The hand holds the object in the middle. It is the same picture for both episodes of a matched pair."""
        left, right = state[geometry.LEFT], state[geometry.RIGHT]
        return np.array([MIDDLE_PX, MIDDLE_PX, MIDDLE_PX, 0.0, left, right])

    def reset_options(self, start: Array, goal: Array) -> dict[str, Any]:
        return {"state": start.tolist()}

    def distance(self, states: Array, goals: Array) -> Array:
        return np.abs(states[..., OBJECT] - goals[..., OBJECT])

    def to_go(self, states: Array, goals: Array) -> Array:
        return geometry.way_to_go(states, goals[..., OBJECT])

    def straight(self, states: Array, goals: Array) -> Array | None:
        return None

    def scripted(self, states: Array, goals: Array) -> Array:
        return policies.fetch(states, goals[..., OBJECT])

    def still(self, states: Array) -> Array:
        return np.zeros((*states.shape[:-1], 1))

    def step(self, states: Array, actions: Array) -> Array:
        return geometry.move(states, actions)
