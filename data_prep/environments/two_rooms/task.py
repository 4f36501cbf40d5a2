"""Planning in Two Rooms: from one room to a place in the other one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from data_prep.environments.tasks import Criterion, Variation
from data_prep.environments.two_rooms import geometry, policies
from data_prep.environments.two_rooms.geometry import Array, Openings


class TwoRoomsTask:
    """States are x, y, wall_x, door_y. Arguments are those of the environment; only motion matters here."""

    unit = "px"
    to_go_is_exact = True
    budget = 200
    max_norm: float | None = geometry.MAX_STEP_PX
    criteria = (
        Criterion("moderate", geometry.SUCCESS_PX, "last", source="EB-JEPA"),
        Criterion("strict", geometry.STRICT_SUCCESS_PX, "held", 3),
        Criterion("any step", geometry.STRICT_SUCCESS_PX, "any", source="PLDM"),
    )
    variations = (
        *(Variation("dot size", f"{std} px", {"dot_std_px": std}) for std in (0.9, 1.8, 2.6)),
        *(Variation("wall thickness", f"{2 * half:g} px", {"wall_half_px": half}) for half in (0.5, 2.5)),
        *(Variation("wall brightness", f"{level} of 255", {"wall_level": level}) for level in (170, 85)),
        *(Variation("door size", f"{2 * half:g} px", {"door_half_px": half}) for half in (2.5, 8.0)),
        *(Variation("speed", f"{speed:g} x", {"speed": speed}) for speed in (0.5, 1.5)),
        *(Variation("background", f"{level} of 255", {"background_level": level}) for level in (25, 75)),
    )

    def __init__(self, speed: float = 1.0, wall_half_px: float = 1.5, door_half_px: float = 4.0, **_looks: Any) -> None:
        self.speed, self.openings = speed, Openings(wall_half_px, door_half_px)

    def own_goal(self, state: Array, info: Mapping[str, Any]) -> Array:
        return np.concatenate([np.asarray(info["goal"], np.float64), state[2:]])

    def reset_options(self, start: Array, goal: Array) -> dict[str, Any]:
        return {"state": start.tolist(), "goal": goal[:2].tolist()}

    def distance(self, states: Array, goals: Array) -> Array:
        found: Array = np.linalg.norm(states[..., :2] - goals[..., :2], axis=-1)
        return found

    def to_go(self, states: Array, goals: Array) -> Array:
        return geometry.path_length(states[..., :2], goals[..., :2], states[..., 2], states[..., 3])

    def straight(self, states: Array, goals: Array) -> Array:
        return policies.straight_to(states[..., :2], goals[..., :2])

    def scripted(self, states: Array, goals: Array) -> Array:
        return policies.through_the_door(states[..., :2], goals[..., :2], states[..., 2], states[..., 3])

    def still(self, states: Array) -> Array:
        return np.zeros((*states.shape[:-1], 2))

    def step(self, states: Array, actions: Array) -> Array:
        position = geometry.move(states[..., :2], self.speed * actions, states[..., 2], states[..., 3], openings=self.openings)
        walls = np.broadcast_to(states[..., 2:], (*position.shape[:-1], states.shape[-1] - 2))
        return np.concatenate([position, walls], axis=-1)
