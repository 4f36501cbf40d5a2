"""Tasks of planning: how an environment is put to a start and a goal, and when the goal is reached.

A task is made from the keyword arguments of its environment. The description of an environment names
its task; `find_task` in making.py finds it. This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

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
    measure: str = "distance"
    """the method of the task that measures the distance"""

    def reached(self, distance: Array, length: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Distances after each step, the start first: [..., T + 1] -> [...]. The start alone does not count.

        length: steps that were executed [...], where an episode may end early. The state is repeated after them, and these
        repeated states do not count as steps near the goal. None: all steps.
        """
        near = np.asarray(distance[..., 1:] < self.tolerance)
        if self.when == "last":
            return np.asarray(near[..., -1])
        if length is not None:
            near = near & (np.arange(near.shape[-1]) < np.asarray(length)[..., None])
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
    """States [..., S] are observations of the environment; a goal is a state too. A is the size of an action.

    Two more attributes are optional. `to_go_is_exact`: true where `to_go` is the true length of the shortest way.
    `still(states)`: the actions that keep the state, [..., S] -> [..., A]; without it, "do nothing" takes the middle of the
    bounds of actions, which moves something where actions are absolute targets.
    """

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
        """By which success is measured, unless a criterion names another measure: [..., S], [..., S] -> [...]."""

    def to_go(self, states: Array, goals: Array) -> Array:
        """Length of the way to the goal, which knows obstacles: [..., S], [..., S] -> [...]."""

    def straight(self, states: Array, goals: Array) -> Array | None:
        """The action that leads straight to the goal: [..., A]; None where there is no such action."""

    def scripted(self, states: Array, goals: Array) -> Array | None:
        """The action of a scripted policy: [..., A]; None where there is none."""

    def step(self, states: Array, actions: Array) -> Array:
        """A copy of the environment without noise: [..., S], [..., A] -> [..., S]."""


@runtime_checkable
class WatchedTask(Task, Protocol):
    """A task in which something is seen before a plan is made, and cannot be seen any more when it is made."""

    @property
    def lead_in_steps(self) -> int:
        """Steps with actions of zeros before a plan is made. Every policy sees them; they do not count in the budget."""

    def members(self, start: Array) -> tuple[Array, Array]:
        """The first states of two episodes whose pictures are the same when a plan is made; one of them is `start` [S]."""


@runtime_checkable
class StillTask(Task, Protocol):
    """A task that knows the actions that keep a state."""

    def still(self, states: Array) -> Array:
        """[..., S] -> [..., A]"""


def to_go_is_exact(task: Task) -> bool:
    """Whether `to_go` of a task is the true length of the shortest way to the goal."""
    return bool(getattr(task, "to_go_is_exact", False))


def lead_in_steps(task: Task) -> int:
    """Steps that are watched before a plan is made; 0 for most tasks."""
    return task.lead_in_steps if isinstance(task, WatchedTask) else 0


def measured(task: Task, criterion: Criterion, states: Array, goals: Array) -> Array:
    """The distance of a criterion: [..., S], [..., S] -> [...]."""
    found: Array = getattr(task, criterion.measure)(states, goals)
    return found


def is_at_goal(task: Task, state: Array, goal: Array) -> bool:
    """Whether a state [S] is within the tolerance of a criterion, so that doing nothing could be a success."""
    return any(float(measured(task, criterion, state, goal)) < criterion.tolerance for criterion in task.criteria)
