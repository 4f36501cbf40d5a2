"""Episodes of a policy, many at once: each from its start, until the budget is used up."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data_prep.environments.making import make_environment
from data_prep.environments.tasks import Task, lead_in_steps
from eval.errors import EvalError
from eval.npz_files import load_arrays
from worldmodel.files.atomic import write_arrays

Array = NDArray[np.float64]
_START_TOLERANCE = 1e-6  # of a state after reset, relative


@dataclass(frozen=True)
class Cases:
    """B pairs of start and goal, with their numbers in the set of pairs."""

    numbers: tuple[int, ...]
    starts: Array  # [B, S]
    goals: Array  # [B, S]


@dataclass(frozen=True)
class History:
    """What policies may look at. Pictures are those of the last steps, as many as the policy asked for."""

    step: int
    states: Array  # [B, S]
    pictures: Sequence[NDArray[np.uint8]]  # up to `context` of [B, H, W, 3], the newest last
    actions: Sequence[Array]  # executed so far, [B, A] each; those of the lead-in of the task are the first


class Policy(Protocol):
    """Acts in B environments at once."""

    context: int  # pictures of the last steps that it needs; 0: none

    def act(self, history: History) -> Array:
        """[B, A]"""

    def spent(self) -> Spent:
        """What planning has cost until now, per environment."""


@dataclass(frozen=True)
class Spent:
    """What planning costs, per environment."""

    plans: int = 0
    predicted_steps: int = 0
    seconds: float = 0.0  # of processor time, for all environments together divided by their number


@dataclass(frozen=True)
class Episodes:
    """B finished episodes of T steps. After an early end, the last state is repeated."""

    states: Array  # [B, T + 1, S]
    actions: Array  # [B, T, A]; NaN after an early end
    length: NDArray[np.int64]  # [B] steps that were executed
    spent: Array  # [B, 3] plans, predicted steps and seconds

    def save(self, path: Path) -> None:
        write_arrays(path, vars(self), compressed=True)

    @classmethod
    def load(cls, path: Path) -> Episodes:
        return cls(**load_arrays(path))

    @classmethod
    def join(cls, parts: Sequence[Episodes]) -> Episodes:
        names = ("states", "actions", "length", "spent")
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


class Environments:
    """Environments that stand at the starts of their cases."""

    def __init__(self, environment_id: str, options: dict[str, Any], task: Task, cases: Cases, seed: int) -> None:
        self._id = environment_id
        self._made = [make_environment(environment_id, options) for _ in cases.numbers]
        self._lead_in_steps = lead_in_steps(task)
        self.states = np.stack(
            [
                stand_at(environment, environment_id, task, start, goal, episode_seed(seed, number))
                for environment, number, start, goal in zip(self._made, cases.numbers, cases.starts, cases.goals, strict=True)
            ]
        )
        self.running = np.ones(len(self._made), np.bool_)

    def watch(self, action_size: int, with_pictures: bool) -> tuple[list[NDArray[np.uint8]], list[Array]]:
        """Execute the lead-in of the task. Returns the pictures before each of its steps, and its actions, which are zeros."""
        pictures, actions = [], [np.zeros((len(self._made), action_size)) for _ in range(self._lead_in_steps)]
        for action in actions:
            if with_pictures:
                pictures.append(self.pictures())
            self.step(action)
        return pictures, actions

    def step(self, actions: Array) -> None:
        """Execute one action in each environment that has not ended. Raises EvalError where an environment fails."""
        for index in np.flatnonzero(self.running):
            environment = self._made[index]
            with _environment_errors(self._id, "step failed"):
                action = allowed_action(environment.action_space, actions[index])
                state, _, terminated, truncated, _ = environment.step(action)
                self.states[index] = np.asarray(state, np.float64).reshape(-1)
            self.running[index] = not (terminated or truncated)

    def pictures(self) -> NDArray[np.uint8]:
        with _environment_errors(self._id, "render failed"):
            return np.stack([np.asarray(environment.render()) for environment in self._made])

    def close(self) -> None:
        for environment in self._made:
            environment.close()


@contextmanager
def _environment_errors(environment_id: str, what: str) -> Iterator[None]:
    """Turn what an environment raises into one EvalError that names it."""
    try:
        yield
    except Exception as error:  # an environment may raise anything
        raise EvalError(f"{environment_id}: {what} ({type(error).__name__}: {' '.join(str(error).split())[:300]})") from None


def allowed_action(space: Any, action: Array) -> NDArray[Any]:
    """An action [A] with the shape and the dtype of a Box, within its bounds also after rounding to that dtype."""
    wanted = np.clip(action.reshape(space.shape), space.low, space.high)
    if np.issubdtype(space.dtype, np.integer):
        wanted = np.rint(wanted)
    found: NDArray[Any] = np.clip(wanted.astype(space.dtype), space.low, space.high)
    return found


def stand_at(environment: Any, environment_id: str, task: Task, start: Array, goal: Array, seed: int) -> Array:
    """Put an environment to a start and a goal. Returns the state. Raises EvalError where it cannot be set."""
    with _environment_errors(environment_id, "the goal cannot be set"):
        state, _ = environment.reset(seed=seed, options=task.reset_options(start, goal))
    found = np.asarray(state, np.float64).reshape(-1)
    if found.shape != start.shape or not np.allclose(found, start, rtol=_START_TOLERANCE, atol=_START_TOLERANCE):
        raise EvalError(
            f"{environment_id}: reset was asked for the state {start.tolist()} and stands at {found.tolist()}; its states "
            "cannot be set, so no episode can begin at a chosen start"
        )
    return found


def picture_of(environment: Any, environment_id: str, task: Task, state: Array) -> NDArray[np.uint8]:
    """The picture of a state, such as a goal."""
    stand_at(environment, environment_id, task, state, state, 0)
    with _environment_errors(environment_id, "render failed"):
        return np.array(environment.render())


def episode_seed(seed: int, number: int) -> int:
    """Seed of the noise of an environment. It is the same for all policies."""
    return int.from_bytes(hashlib.sha256(f"plan|{seed}|{number}".encode()).digest()[:4], "big") >> 1


def run_episodes(environments: Environments, policy: Policy, budget: int, action_size: int) -> Episodes:
    """Act until all environments have ended or the budget is used up. The lead-in of the task comes before."""
    seen, before = environments.watch(action_size, with_pictures=policy.context > 0)
    states = [environments.states.copy()]
    actions: list[Array] = []
    length = np.zeros(len(environments.states), np.int64)
    pictures: deque[NDArray[np.uint8]] = deque(seen, maxlen=max(policy.context, 1))
    for step in range(budget):
        if not environments.running.any():
            break
        if policy.context:
            pictures.append(environments.pictures())
        history = History(step, states[-1], tuple(pictures), (*before, *actions))
        chosen = np.asarray(policy.act(history), np.float64)
        if chosen.shape != (len(length), action_size) or not np.isfinite(chosen).all():
            raise EvalError(f"a policy gave actions {list(chosen.shape)}; expected {[len(length), action_size]}, all finite")
        running = environments.running.copy()
        length += running
        environments.step(chosen)
        states.append(environments.states.copy())
        actions.append(np.where(running[:, None], chosen, 0.0))
    missing = budget + 1 - len(states)
    executed = np.arange(budget) < length[:, None]
    padded = np.zeros((len(length), budget, action_size))
    if actions:
        padded[:, : len(actions)] = np.stack(actions, 1)
    spent = policy.spent()
    cost = np.tile(np.array([spent.plans, spent.predicted_steps, spent.seconds], np.float64), (len(length), 1))
    return Episodes(
        np.concatenate([np.stack(states, 1), np.repeat(states[-1][:, None], missing, axis=1)], axis=1),
        np.where(executed[..., None], padded, np.nan),
        length,
        cost,
    )
