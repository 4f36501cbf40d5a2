"""Planning in Push-T: to the agent and the T of a later moment of a recorded episode."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.environments.push_t import geometry, policies
from data_prep.environments.push_t.geometry import Array
from data_prep.environments.tasks import Criterion, Variation
from data_prep.errors import PrepError

if TYPE_CHECKING:
    from data_prep.environments.push_t.simulation import Simulation

_AGENT_WEIGHT = 0.25  # of the squared distance of the agent in the cost that sees the T first
_COLOURS = {"red": (225, 65, 65), "black": (0, 0, 0), "grey": (180, 180, 180)}


class PushTTask:
    """States are those of the environment. Its options change the picture only, so they do not matter here.

    A degree counts as a px: the published tolerances are 20 px and 20 degrees.
    """

    unit = "px"
    to_go_is_exact = False  # a weighted distance, which does not know how the T must be pushed
    budget = 50
    max_norm: float | None = geometry.MAX_ACTION_PX
    criteria = (
        Criterion("moderate", 20.0, "any", measure="agent_and_block", source="stable-worldmodel"),
        Criterion("strict", 10.0, "held", 3, measure="block", source="CLEAR-LeWM"),
    )
    variations = (
        *(Variation("agent colour", name, {"agent_colour": _COLOURS[name]}) for name in ("red", "black")),
        *(Variation("block colour", name, {"block_colour": _COLOURS[name]}) for name in ("red", "black")),
        Variation("background colour", "grey", {"background_colour": _COLOURS["grey"]}),
        Variation("goal zone of gym-pusht", "drawn", {"goal_zone": True}),
    )

    def __init__(self, **_looks: Any) -> None:
        pass

    def own_goal(self, state: Array, info: Mapping[str, Any]) -> Array:
        raise PrepError("PushT-v0 draws no goal of its own; give --goals later")

    def reset_options(self, start: Array, goal: Array) -> dict[str, Any]:
        return {"state": start.tolist()}

    def agent_and_block(self, states: Array, goals: Array) -> Array:
        """The larger of two: the norm of the differences of both places in px, and that of the angle in degrees."""
        places = np.hypot(geometry.agent_error_px(states, goals), geometry.block_error_px(states, goals))
        return np.maximum(places, geometry.block_error_deg(states, goals))

    def block(self, states: Array, goals: Array) -> Array:
        """The same of the T alone."""
        return np.maximum(geometry.block_error_px(states, goals), geometry.block_error_deg(states, goals))

    def distance(self, states: Array, goals: Array) -> Array:
        """Norm of all differences: agent in px, T in px and degrees. The cost of an oracle."""
        return self._norm(states, goals, 1.0)

    def to_go(self, states: Array, goals: Array) -> Array:
        """The same with less weight on the agent, which has to leave its goal in order to push."""
        return self._norm(states, goals, _AGENT_WEIGHT)

    def straight(self, states: Array, goals: Array) -> Array:
        return policies.towards(states[..., :2], goals[..., :2])

    def scripted(self, states: Array, goals: Array) -> Array | None:
        return None

    def still(self, states: Array) -> Array:
        return np.zeros((*states.shape[:-1], 2))

    def step(self, states: Array, actions: Array) -> Array:
        """One state after the other: the physics has no batches, 0.2 ms each."""
        from data_prep.environments.push_t.simulation import target_of

        states, actions = (
            np.broadcast_to(some, (*np.broadcast_shapes(states.shape[:-1], actions.shape[:-1]), some.shape[-1]))
            for some in (states, actions)
        )
        found = np.empty(states.shape)
        for index in np.ndindex(*states.shape[:-1]):
            self._simulation.stand_at(states[index])
            self._simulation.step(target_of(states[index], actions[index]))
            found[index] = self._simulation.state
        return found

    @cached_property
    def _simulation(self) -> Simulation:
        from data_prep.environments.push_t.simulation import Simulation

        return Simulation()

    def _norm(self, states: Array, goals: Array, agent_weight: float) -> Array:
        agent, block = geometry.agent_error_px(states, goals), geometry.block_error_px(states, goals)
        return np.sqrt(agent_weight * agent**2 + block**2 + geometry.block_error_deg(states, goals) ** 2)
