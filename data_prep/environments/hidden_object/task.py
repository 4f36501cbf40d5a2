"""Planning with a hidden object: bring it to the middle of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from data_prep.environments.hidden_object import geometry, policies
from data_prep.environments.hidden_object.geometry import MIDDLE_PX, OBJECT, Array
from data_prep.environments.tasks import Criterion, Variation

_COLOURS = {
    "blue": (0.1, 0.3, 0.9),
    "yellow": (0.9, 0.8, 0.1),
    "black": (0.0, 0.0, 0.0),
    "brown": (0.45, 0.3, 0.15),
    "grey": (0.6, 0.6, 0.6),
    "light blue": (0.7, 0.8, 0.95),
}


class HiddenObjectTask:
    """States are those of the environment. It implements WatchedTask: the object is seen going away before a plan is made.

    Options of the environment change the picture only, so they do not matter here.
    """

    unit = "px"
    to_go_is_exact = True  # what the hand must move to fetch the object and to bring it to the goal
    budget = geometry.BUDGET_STEPS
    max_norm: float | None = None
    criteria = (
        Criterion("moderate", geometry.SUCCESS_PX, "last"),
        Criterion("strict", geometry.STRICT_SUCCESS_PX, "last"),
    )
    variations = (
        *(Variation("object colour", name, {"object_colour": _COLOURS[name]}) for name in ("blue", "yellow")),
        *(Variation("object form", form, {"object_form": form}) for form in ("square", "star")),
        *(Variation("object size", f"{2 * radius:g} px", {"object_radius_px": radius}) for radius in (3.0, 5.0)),
        Variation("hand colour", "black", {"hand_colour": _COLOURS["black"]}),
        *(Variation("screen colour", name, {"screen_colour": _COLOURS[name]}) for name in ("blue", "brown")),
        *(Variation("screen width", f"{2 * half:g} px", {"screen_half_px": half}) for half in (7.0, 9.5)),
        *(Variation("background", name, {"background_colour": _COLOURS[name]}) for name in ("grey", "light blue")),
    )
    lead_in_steps = geometry.LEAD_IN_STEPS

    def __init__(self, **_looks: Any) -> None:
        pass

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
