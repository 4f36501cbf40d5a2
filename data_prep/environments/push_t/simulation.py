"""The physics of gym-pusht, stepped from any state. Needs gym-pusht (`pip install -e ".[control]"`)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from data_prep.environments.push_t.geometry import MAX_ACTION_PX, TARGET_PX, Array

INSTALL = 'Push-T needs gym-pusht: pip install gym-pusht, or pip install -e ".[control]" in this project'


class Simulation:
    """A scene of gym-pusht. A step is a function of state and target alone, so that any recorded state can be continued.

    Three things of gym-pusht stand in the way, and are removed at the end of a step. The block has a velocity that moves it
    once more before the next contact is solved: that motion is carried out at once, so a block that is pushed is seen 0.01 s
    earlier, on the same path. Corrections of overlaps are carried out with it. Contacts remember their impulses, from which
    the solver of the next step starts: they are forgotten. Raises ImportError where gym-pusht is missing.
    """

    def __init__(self) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it prints a line when it is imported
        try:
            import pymunk
            from gym_pusht.envs.pusht import PushTEnv
        except ImportError as error:
            raise ImportError(f"{INSTALL} ({error})") from None
        made: Any = PushTEnv(obs_type="state", render_mode="rgb_array")
        made.reset(seed=0)
        self._space, self._agent, self._block = made.space, made.agent, made.block
        self._stiffness, self._damping, self._dt_s = made.k_p, made.k_v, made.dt
        self._substeps = round(1 / (made.dt * made.control_hz))
        self._moving = [*self._agent.shapes, *made._block_shapes]
        self._integrate: Any = pymunk.Body.update_position

    @property
    def state(self) -> Array:
        """x and y of the agent, x, y and angle of the T, velocity of the agent: [7]."""
        angle = self._block.angle % (2 * np.pi)
        return np.array([*self._agent.position, *self._block.position, angle, *self._agent.velocity], np.float64)

    def stand_at(self, state: Array) -> None:
        """Put the scene to a state. Nothing moves."""
        x, y, block_x, block_y, angle, vx, vy = (float(value) for value in state)
        self._agent.position, self._agent.velocity = (x, y), (vx, vy)
        self._block.angle = angle  # first: it turns the T about its centre of mass, which moves its place
        self._block.position = (block_x, block_y)
        self._rest(0.0)

    def step(self, target: Array) -> None:
        """Move the agent towards a target [2] for 0.1 s, by the controller of gym-pusht."""
        agent, space, dt = self._agent, self._space, self._dt_s
        stiffness, damping = self._stiffness, self._damping
        to_x, to_y = (float(value) for value in target)
        for _ in range(self._substeps):
            x, y = agent.position
            vx, vy = agent.velocity
            ax = stiffness * (to_x - x) + damping * (0 - vx)
            ay = stiffness * (to_y - y) + damping * (0 - vy)
            agent.velocity = (vx + ax * dt, vy + ay * dt)
            space.step(dt)
        self._rest(dt)

    def _rest(self, seconds: float) -> None:
        """Carry out the motion of the block that is left, and forget its velocity and all contacts."""
        self._integrate(self._block, seconds)
        self._block.velocity, self._block.angular_velocity = (0.0, 0.0), 0.0
        self._space.remove(*self._moving)
        self._space.add(*self._moving)


def target_of(state: Array, action: Array) -> Array:
    """The target of an action, which is relative to the agent: [..., S], [..., 2] -> [..., 2].

    Actions are shortened to MAX_ACTION_PX. The target is kept from the walls, because they do not stop the agent.
    """
    length = np.linalg.norm(action, axis=-1, keepdims=True)
    bounded = action * np.minimum(1.0, MAX_ACTION_PX / np.maximum(length, 1e-12))
    found: Array = np.clip(state[..., :2] + bounded, *TARGET_PX)
    return found
