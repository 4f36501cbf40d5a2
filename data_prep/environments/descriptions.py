"""What is known of an environment beyond the interface of gymnasium: names, units, policies, and what a state is.

A new one is a line in DESCRIPTIONS. Any other environment of gymnasium is recorded with numbered names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_prep.environments.hidden_object import policies as hidden_object
from data_prep.environments.hidden_object.geometry import STATE as HIDDEN_OBJECT_STATE
from data_prep.environments.hidden_object.task import HiddenObjectTask
from data_prep.environments.push_t import geometry as push_t
from data_prep.environments.push_t.policies import pushes
from data_prep.environments.push_t.task import PushTTask
from data_prep.environments.tasks import Task
from data_prep.environments.two_rooms import policies as two_rooms
from data_prep.environments.two_rooms.geometry import STATE
from data_prep.environments.two_rooms.task import TwoRoomsTask

Act = Callable[[Any, dict[str, Any]], Any]
"""Chooses an action from the observation and the info of a step."""
Policy = Callable[[Any, np.random.Generator], Act]
"""Called with the environment and a random generator at the start of every episode."""


@dataclass(frozen=True)
class Description:
    """An environment. `entry_point` registers one of ours with gymnasium."""

    entry_point: str | None = None
    max_steps: int | None = None
    action_names: tuple[str, ...] = ()
    action_units: tuple[str, ...] = ()
    state_names: tuple[str, ...] = ()
    state_units: tuple[str, ...] = ()
    resets_to_state: bool = False
    """Whether `reset(options={"state": [...]})` stands at a recorded state exactly."""
    split_by: tuple[str, ...] = ()
    """Names of the numbers of the first state by which episodes are split; none: by all of them."""
    policies: Mapping[str, Policy] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    """Packages besides gymnasium and numpy that decide what an episode looks like."""
    task: Callable[..., Task] | None = None
    """Makes the task of planning from the keyword arguments of the environment."""


DESCRIPTIONS: dict[str, Description] = {
    "TwoRooms-v0": Description(
        entry_point="data_prep.environments.two_rooms.environment:TwoRooms",
        max_steps=200,
        action_names=("dx", "dy"),
        action_units=("px", "px"),
        state_names=STATE,
        state_units=("px",) * len(STATE),
        resets_to_state=True,
        split_by=("wall_x", "door_y"),  # so that walls of val and test are never seen in training
        policies={"random": two_rooms.training_data, "scripted": two_rooms.scripted},
        task=TwoRoomsTask,
    ),
    "HiddenObject-v0": Description(
        entry_point="data_prep.environments.hidden_object.environment:HiddenObject",
        max_steps=26,  # the lead-in, and somewhat more than the budget of a plan
        action_names=("dx",),
        action_units=("px",),
        state_names=HIDDEN_OBJECT_STATE,
        state_units=("px",) * len(HIDDEN_OBJECT_STATE),
        resets_to_state=True,
        split_by=("left_x", "right_x"),  # so that both members of a matched pair have the same split
        policies={"random": hidden_object.training_data, "scripted": hidden_object.scripted},
        task=HiddenObjectTask,
    ),
    "PushT-v0": Description(
        entry_point="data_prep.environments.push_t.environment:PushT",
        max_steps=300,
        action_names=("dx", "dy"),
        action_units=("px", "px"),
        state_names=push_t.STATE,
        state_units=push_t.STATE_UNITS,
        resets_to_state=True,
        policies={"scripted": pushes},
        packages=("gym-pusht", "pymunk"),
        task=PushTTask,
    ),
}
