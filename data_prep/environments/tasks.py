"""Tasks of planning: how an environment is put to a start and a goal, and when the goal is reached.

A task is made from the keyword arguments of its environment. The description of an environment names
its task; `find_task` in making.py finds it. This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Criterion:
    """When an episode is a success: the distance to the goal is below a tolerance."""

    name: str
    tolerance: float
    when: Literal["last", "any", "held"]
    """last: after the last step; any: after any step; held: after `steps` steps in a row"""
    steps: int = 1
    source: str = ""

    def reached(self, distance: Array) -> NDArray[np.bool_]:
        """Distances after each step, the start first: [..., T + 1] -> [...]. The start alone does not count."""
        near = np.asarray(distance[..., 1:] < self.tolerance)
        if self.when == "last":
            return np.asarray(near[..., -1])
        if self.steps > near.shape[-1]:
            return np.zeros(near.shape[:-1], np.bool_)
        windows = np.lib.stride_tricks.sliding_window_view(near, self.steps, axis=-1)
        return np.asarray(windows.all(-1).any(-1))


@dataclass(frozen=True)
class Variation:
    """One changed factor: keyword arguments of the environment."""

    factor: str
    label: str
    options: Mapping[str, Any]


class Task(Protocol):
    """States [..., S] are observations of the environment; a goal is a state too. A is the size of an action."""

    @property
    def unit(self) -> str:
        """Of distances."""

    @property
    def budget(self) -> int:
        """Steps of an episode, as published."""

    @property
    def max_norm(self) -> float | None:
        """Length of the longest action."""

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """The first is the published one."""

    @property
    def variations(self) -> tuple[Variation, ...]:
        """Changed environments, one factor each."""

    def own_goal(self, state: Array, info: Mapping[str, Any]) -> Array:
        """The goal that the environment drew in `reset`, as a state: [S]. Raises PrepError where it draws none."""

    def reset_options(self, start: Array, goal: Array) -> dict[str, Any]:
        """`options` of `reset` for a start and a goal."""

    def distance(self, states: Array, goals: Array) -> Array:
        """By which success is measured: [..., S], [..., S] -> [...]."""

    def to_go(self, states: Array, goals: Array) -> Array:
        """Length of the way to the goal, which knows obstacles: [..., S], [..., S] -> [...]."""

    def straight(self, states: Array, goals: Array) -> Array | None:
        """The action that leads straight to the goal: [..., A]; None where there is no such action."""

    def scripted(self, states: Array, goals: Array) -> Array | None:
        """The action of a scripted policy: [..., A]; None where there is none."""

    def step(self, states: Array, actions: Array) -> Array:
        """A copy of the environment without noise: [..., S], [..., A] -> [..., S]."""
