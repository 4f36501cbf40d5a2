"""Two Rooms with the interface of gymnasium. Needs gymnasium (`pip install -e ".[control]"`)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from data_prep.environments.two_rooms.drawing import DOT_STD_PX, Look, draw
from data_prep.environments.two_rooms.geometry import (
    BOUNCE_STD_PX,
    DOOR_HALF_PX,
    MAX_STEP_PX,
    SIZE_PX,
    STATE,
    SUCCESS_PX,
    WALL_HALF_PX,
    Array,
    Openings,
    is_free,
    move,
    sample_start_and_goal,
    sample_wall,
)


class TwoRooms(gymnasium.Env[Array, Array]):
    """A dot that moves by its action, in px. The observation is the state: x, y, wall_x, door_y, in px.

    `reset(options={"state": [4 numbers]})` stands at a recorded state exactly, and `"goal": [x, y]`
    sets the goal; else wall, start and goal are random, the goal in the other room. An episode does
    not end at the goal. info: goal [2], distance in px, is_success (within 4.5 px, as in EB-JEPA). The
    reward is 1 while that holds. Actions are not clipped; `action_space` has the bounds that planners
    keep to. bounce_std_px: noise of a dot that is stopped by a wall. speed: px per unit of the action.
    The other options change the picture, the wall and the door.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  the interface of gymnasium

    def __init__(
        self,
        render_mode: str | None = "rgb_array",
        bounce_std_px: float = BOUNCE_STD_PX,
        speed: float = 1.0,
        dot_std_px: float = DOT_STD_PX,
        wall_half_px: float = WALL_HALF_PX,
        door_half_px: float = DOOR_HALF_PX,
        wall_level: int = 255,
        background_level: int = 0,
    ) -> None:
        self.render_mode, self.bounce_std_px, self.speed = render_mode, bounce_std_px, speed
        self._openings, self._look = Openings(wall_half_px, door_half_px), Look(dot_std_px, wall_level, background_level)
        self.action_space = gymnasium.spaces.Box(-MAX_STEP_PX, MAX_STEP_PX, (2,), np.float64)
        self.observation_space = gymnasium.spaces.Box(0.0, float(SIZE_PX), (len(STATE),), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode. Raises ValueError for a state or a goal inside a wall."""
        super().reset(seed=seed)
        options = dict(options or {})
        state, goal = options.pop("state", None), options.pop("goal", None)
        if options:
            raise ValueError(f"reset: options {', '.join(sorted(options))} are unknown; there are state and goal")
        if state is None:
            self._wall_x, self._door_y = sample_wall(self.np_random)
            self._position, self._goal = sample_start_and_goal(self.np_random, self._wall_x)
        else:
            numbers = _numbers("state", state, len(STATE))
            self._position, (self._wall_x, self._door_y) = numbers[:2], numbers[2:].tolist()
            self._goal = self._position.copy()
        if goal is not None:
            self._goal = _numbers("goal", goal, 2)
        for name, place in (("state", self._position), ("goal", self._goal)):
            if not is_free(place, np.float64(self._wall_x), np.float64(self._door_y), self._openings):
                raise ValueError(f"reset: the {name} {place.tolist()} lies inside a wall or outside of the borders")
        return self._state(), self._info()

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Move the dot. Two random numbers are drawn in every step, whether it is stopped or not."""
        bounce = self.np_random.normal(0.0, self.bounce_std_px, 2)
        given = self.speed * _numbers("action", action, 2)
        wall = np.float64(self._wall_x), np.float64(self._door_y)
        self._position = move(self._position, given, *wall, bounce, self._openings)
        info = self._info()
        return self._state(), float(info["is_success"]), False, False, info

    def render(self) -> NDArray[np.uint8]:
        """The picture, uint8 [65, 65, 3]."""
        return draw(self._position, np.float64(self._wall_x), np.float64(self._door_y), self._openings, self._look)

    def _state(self) -> Array:
        return np.array([*self._position, self._wall_x, self._door_y])

    def _info(self) -> dict[str, Any]:
        distance = float(np.linalg.norm(self._position - self._goal))
        return {"goal": self._goal.copy(), "distance": distance, "is_success": distance < SUCCESS_PX}


def _numbers(name: str, values: Any, count: int) -> Array:
    numbers = np.array(values, dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} is {values!r}; expected {count} finite numbers")
    return numbers
