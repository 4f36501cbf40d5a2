"""Policies that need no planner: the floors between which a score can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.planning.episodes import History, Spent
from worldmodel.planning import ActionSpace

Array = NDArray[np.float64]


class StatePolicy:
    """Acts by a function of states [B, S] -> actions [B, A]."""

    context = 0

    def __init__(self, act: Callable[[Array], Array]) -> None:
        self._act = act

    def act(self, history: History) -> Array:
        return self._act(history.states)

    def spent(self) -> Spent:
        return Spent()


class RandomPolicy:
    """Uniform actions within the bounds and the largest norm; one random generator per environment."""

    context = 0

    def __init__(self, space: ActionSpace, seeds: Sequence[int]) -> None:
        self._space = space
        self._rngs = [np.random.default_rng(seed) for seed in seeds]

    def act(self, history: History) -> Array:
        return np.stack([random_action(self._space, rng) for rng in self._rngs])

    def spent(self) -> Spent:
        return Spent()


def random_action(space: ActionSpace, rng: np.random.Generator) -> Array:
    """[A]. Uniform in the ball of the largest norm, clipped to the box; where there is no such norm, uniform in the box."""
    low, high = space.low.double().numpy(), space.high.double().numpy()
    if space.max_norm is None:
        action: Array = rng.uniform(low, high)
        return action
    direction = rng.normal(size=len(low))
    radius = space.max_norm * rng.random() ** (1 / len(direction))
    clipped: Array = np.clip(radius * direction / np.linalg.norm(direction), low, high)
    return clipped
