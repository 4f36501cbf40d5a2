"""The hidden object with the interface of gymnasium. Needs gymnasium (`pip install -e ".[control]"`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import gymnasium
import numpy as np
from numpy.typing import NDArray

from data_prep.environments.hidden_object.drawing import USUAL, Look, draw
from data_prep.environments.hidden_object.geometry import (
    MAX_STEP_PX,
    MIDDLE_PX,
    OBJECT,
    REST_OFFSET_PX,
    SIZE_PX,
    STATE,
    SUCCESS_PX,
    Array,
    move,
    sample_start,
)
from data_prep.physics.worlds.flat.scenes import BodyShape, Colour


class HiddenObject(gymnasium.Env[Array, Array]):
    """A hand that moves along the floor, an object, and two screens.

    The object moves behind one of the screens and stays there. The hand takes hold of an object at rest that it reaches, and
    carries it along. The goal is the object in the middle. The action is the displacement of the hand, in px. The observation
    is the state, whose numbers STATE names; pictures do not show all of it.

    `reset(options={"state": [6 numbers]})` stands at a recorded state exactly; else the start is random. Without noise, an
    episode is a function of its start and its actions. It does not end at the goal. info: distance of the object to the
    middle, and is_success. The other arguments change the picture alone; colours are three numbers from 0 to 1.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  the interface of gymnasium

    def __init__(
        self,
        render_mode: str | None = "rgb_array",
        object_colour: Sequence[float] = USUAL.object,
        hand_colour: Sequence[float] = USUAL.hand,
        screen_colour: Sequence[float] = USUAL.screen,
        background_colour: Sequence[float] = USUAL.background,
        object_form: BodyShape = USUAL.form,
        object_radius_px: float = USUAL.radius_px,
        screen_half_px: float = USUAL.screen_half_px,
    ) -> None:
        """Raises ValueError for unknown colours or forms, and for an object that a screen does not hide."""
        self.render_mode = render_mode
        if object_form not in get_args(BodyShape):
            raise ValueError(f"object_form {object_form!r}: expected one of {', '.join(get_args(BodyShape))}")
        if not object_radius_px > 0:
            raise ValueError(f"object_radius_px {object_radius_px:g}: expected a positive number")
        if not object_radius_px + REST_OFFSET_PX + 0.5 <= screen_half_px:
            raise ValueError(
                f"object_radius_px {object_radius_px:g} and screen_half_px {screen_half_px:g}: a screen does not hide the "
                f"object; the screen must be at least {REST_OFFSET_PX + 0.5:g} px larger"
            )
        self._look = Look(
            object=_colour(object_colour),
            hand=_colour(hand_colour),
            screen=_colour(screen_colour),
            background=_colour(background_colour),
            form=object_form,
            radius_px=object_radius_px,
            screen_half_px=screen_half_px,
        )
        self.action_space = gymnasium.spaces.Box(-MAX_STEP_PX, MAX_STEP_PX, (1,), np.float64)
        self.observation_space = gymnasium.spaces.Box(-float(SIZE_PX), float(SIZE_PX), (len(STATE),), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode. Raises ValueError for a state of other numbers."""
        super().reset(seed=seed)
        options = dict(options or {})
        state = options.pop("state", None)
        if options:
            raise ValueError(f"reset: options {', '.join(sorted(options))} are unknown; there is state")
        self._state = sample_start(self.np_random) if state is None else _numbers("state", state, len(STATE))
        return self._state.copy(), self._info()

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Move the hand and the object. The reward is 1 while the object is within 3 px of the middle."""
        self._state = move(self._state, _numbers("action", action, 1))
        info = self._info()
        return self._state.copy(), float(info["is_success"]), False, False, info

    def render(self) -> NDArray[np.uint8]:
        """The picture, uint8 [64, 64, 3]."""
        return draw(self._state, self._look)

    def _info(self) -> dict[str, Any]:
        distance = float(abs(self._state[OBJECT] - MIDDLE_PX))
        return {"distance": distance, "is_success": distance < SUCCESS_PX}


def _colour(values: Sequence[float]) -> Colour:
    """Raises ValueError for anything but three numbers from 0 to 1."""
    if len(values) != 3 or not all(0 <= value <= 1 for value in values):
        raise ValueError(f"colour {list(values)}: expected three numbers from 0 to 1")
    return float(values[0]), float(values[1]), float(values[2])


def _numbers(name: str, values: Any, count: int) -> Array:
    numbers = np.array(values, dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} is {values!r}; expected {count} finite numbers")
    return numbers
