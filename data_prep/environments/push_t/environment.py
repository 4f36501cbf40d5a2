"""Push-T with the interface of gymnasium. Needs gym-pusht (`pip install -e ".[control]"`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from data_prep.environments.push_t.drawing import GOAL_COLOUR, SIZE_PX, Colour, Look, draw
from data_prep.environments.push_t.geometry import (
    AGENT_RADIUS_PX,
    ARENA_PX,
    CENTRE_OF_MASS_PX,
    MAX_ACTION_PX,
    STATE,
    Array,
    distance_from_block,
    rotated,
    to_block,
)
from data_prep.environments.push_t.simulation import Simulation, target_of

START_PX = (216.0, 296.0)  # of the centre of mass of the T
AGENT_START_PX = (40.0, 472.0)
START_GAP_PX = 10.0  # between agent and T, at least


class PushT(gymnasium.Env[Array, Array]):
    """The scene of `gym_pusht/PushT-v0`, with actions relative to the agent and without a fixed goal.

    The observation is the state: x and y of the agent, x, y and angle of the T, velocity of the agent.
    `reset(options={"state": [7 numbers]})` stands at a recorded state exactly; else T and agent are
    placed at random, apart. An action is the target of the agent relative to its present position, in px
    of the arena; longer ones than 40 px are shortened. An episode does not end. The reward is 0, because
    the goal is the task's. The other options change the picture. With `goal_zone`, the T at the pose that
    gym-pusht asks for is drawn, as it does; here it means nothing.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  the interface of gymnasium

    def __init__(
        self,
        render_mode: str | None = "rgb_array",
        size_px: int = SIZE_PX,
        agent_colour: Sequence[int] = Look.agent,
        block_colour: Sequence[int] = Look.block,
        background_colour: Sequence[int] = Look.background,
        goal_zone: bool = False,
    ) -> None:
        self.render_mode, self._size_px = render_mode, size_px
        self._look = Look(
            agent=_colour(agent_colour),
            block=_colour(block_colour),
            background=_colour(background_colour),
            goal=GOAL_COLOUR if goal_zone else None,
        )
        self._simulation = Simulation()
        self.action_space = gymnasium.spaces.Box(-MAX_ACTION_PX, MAX_ACTION_PX, (2,), np.float64)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (len(STATE),), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode. Raises ValueError for a state outside of the arena."""
        super().reset(seed=seed)
        options = dict(options or {})
        state = options.pop("state", None)
        if options:
            raise ValueError(f"reset: options {', '.join(sorted(options))} are unknown; there is state")
        chosen = random_state(self.np_random) if state is None else _numbers("state", state, len(STATE))
        if not ((chosen[:4] >= 0) & (chosen[:4] <= ARENA_PX)).all():
            raise ValueError(f"reset: the state {chosen.tolist()} lies outside of the arena of {ARENA_PX:g} px")
        self._simulation.stand_at(chosen)
        return self._simulation.state, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Move the agent for 0.1 s."""
        self._simulation.step(target_of(self._simulation.state, _numbers("action", action, 2)))
        return self._simulation.state, 0.0, False, False, {}

    def render(self) -> NDArray[np.uint8]:
        """The picture, uint8 [size_px, size_px, 3]."""
        return draw(self._simulation.state, self._size_px, self._look)


def random_state(rng: np.random.Generator) -> Array:
    """T near the middle at any angle, agent anywhere apart from it, at rest: [7]."""
    angle = rng.uniform(0.0, 2 * np.pi)
    place = rng.uniform(*START_PX, 2) - rotated(np.array(CENTRE_OF_MASS_PX), np.float64(angle))
    while True:
        state = np.array([*rng.uniform(*AGENT_START_PX, 2), *place, angle, 0.0, 0.0])
        if distance_from_block(to_block(state[:2], state)) >= AGENT_RADIUS_PX + START_GAP_PX:
            return state


def _colour(values: Sequence[int]) -> Colour:
    """Raises ValueError for anything but three numbers from 0 to 255."""
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise ValueError(f"colour {list(values)}: expected three numbers from 0 to 255")
    return values[0], values[1], values[2]


def _numbers(name: str, values: Any, count: int) -> Array:
    numbers = np.array(values, dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} is {values!r}; expected {count} finite numbers")
    return numbers
