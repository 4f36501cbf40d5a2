"""Pairs of start and goal, from held-out episodes. They are written to a file that another evaluation can be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.environments.episodes import split_of_state
from data_prep.environments.tasks import Task, WatchedTask, is_at_goal
from eval.errors import EvalError
from eval.planning.episodes import episode_seed
from eval.result_folder import read_result
from worldmodel.files.atomic import write_json
from worldmodel.manifest import Manifest
from worldmodel.signals import SignalError, Signals, read_signals

FORMAT_VERSION = 1
MOST_DRAWN = 20_000  # starts that the environment draws, at most
Array = NDArray[np.float64]
GoalKind = Literal["own", "later"]
"""own: the goal that the environment drew for the episode; later: a state of the same episode, some steps later"""


@dataclass(frozen=True)
class Pair:
    """A start and a goal, as states of the environment."""

    start: tuple[float, ...]
    goal: tuple[float, ...]
    clip_id: str  # of the episode; empty for a pair that the environment drew for this evaluation
    start_step: int  # of the episode


@dataclass(frozen=True)
class PairSet:
    """Pairs of an environment, and how they were chosen."""

    environment: str
    source: str  # manifest of the episodes
    split: str
    goals: GoalKind
    goal_steps: int | None
    seed: int
    removed_at_goal: int  # pairs that were left out because the start is already at the goal
    pairs: tuple[Pair, ...]
    members: int = 1
    """Pairs that follow one another and whose pictures are the same when a plan is made. Planners draw the same random numbers
    for them, so that one without memory makes the same plan."""
    removed_trained_on: int = 0
    """pairs that were left out because a model was trained on their episodes"""

    @property
    def starts(self) -> Array:
        """[P, S]"""
        return np.array([pair.start for pair in self.pairs])

    @property
    def goals_array(self) -> Array:
        """[P, S]"""
        return np.array([pair.goal for pair in self.pairs])

    @property
    def episodes(self) -> NDArray[np.int64]:
        """The episode that each pair is from, [P]. Pairs of one episode depend on each other."""
        names = [pair.clip_id or f"drawn by the environment, {at // self.members}" for at, pair in enumerate(self.pairs)]
        found: NDArray[np.int64] = np.unique(names, return_inverse=True)[1].astype(np.int64)
        return found

    def matched(self) -> list[tuple[Pair, ...]]:
        """The pairs, grouped by matched pair."""
        return [self.pairs[first : first + self.members] for first in range(0, len(self.pairs), self.members)]


def choose_pairs(
    manifest_path: str,
    split: str,
    environment: Any,
    environment_id: str,
    task: Task,
    count: int,
    goals: GoalKind,
    goal_steps: int,
    seed: int,
) -> PairSet:
    """At most `count` pairs from the episodes of a split, in an order that the seed determines.

    With goals "own", an episode gives one pair. Where these are too few, the environment draws more,
    of which those are used that `collect` would have put into the split. Pairs whose start is within
    a tolerance of the goal are left out and counted. Of a WatchedTask, both episodes of a
    matched pair are taken. Raises EvalError where no pair is left.
    """
    members = 2 if isinstance(task, WatchedTask) else 1
    if members > 1 and goals != "own":
        raise EvalError(f"{environment_id}: what must be remembered is seen at the start of an episode; give --goals own")
    manifest = Manifest.open(manifest_path)
    rng = np.random.default_rng(seed)
    found: list[Pair] = []
    removed = 0
    rows = rng.permutation(np.asarray(manifest.rows(split), dtype=np.int64))
    recorded = _candidates(manifest, rows.tolist(), environment, task, goals, goal_steps, rng, count)
    drawn = _fresh(manifest, int(rows[0]), split, environment, task, seed) if goals == "own" and len(rows) else iter(())
    for pair in chain(recorded, drawn):
        if is_at_goal(task, np.array(pair.start), np.array(pair.goal)):
            removed += 1
            continue
        found += _matched(pair, task)
        if len(found) + members > count:
            break
    if not found:
        raise EvalError(
            f"{manifest_path}: no pair of start and goal in split {split!r} ({removed} starts are already at their goal); give "
            "another --split, or --goals"
        )
    steps = goal_steps if goals == "later" else None
    return PairSet(environment_id, str(manifest_path), split, goals, steps, seed, removed, tuple(found), members)


def _matched(pair: Pair, task: Task) -> list[Pair]:
    """The pair, and where the task has them the other members of its matched pair."""
    if not isinstance(task, WatchedTask):
        return [pair]
    return [replace(pair, start=_numbers(start)) for start in task.members(np.array(pair.start))]


def _candidates(
    manifest: Manifest,
    rows: list[int],
    environment: Any,
    task: Task,
    goals: GoalKind,
    goal_steps: int,
    rng: np.random.Generator,
    count: int,
) -> Iterator[Pair]:
    """Pairs of episodes, each episode once; with goals "later", again with other starts while pairs are missing."""
    for _ in range(1 if goals == "own" or not rows else 1 + 2 * count // len(rows)):
        for row in rows:
            clip = manifest.clip(row)
            signals = signals_of(manifest, row)
            if goals == "own":
                yield _own(environment, task, signals.origin, signals.states[0], clip.clip_id)
            elif len(signals.states) > goal_steps:
                start = int(rng.integers(len(signals.states) - goal_steps))
                goal = signals.states[start + goal_steps]
                yield Pair(_numbers(signals.states[start]), _numbers(goal), clip.clip_id, start)


def _fresh(manifest: Manifest, row: int, split: str, environment: Any, task: Task, seed: int) -> Iterator[Pair]:
    """More starts and goals that the environment draws, of those that belong to the split by the rule of `collect`.

    None where the manifest does not tell that rule. row: an episode, for the names of the state.
    """
    rule: Any = manifest.metadata.get("config", {})
    if not isinstance(rule, dict) or not {"split_by", "val", "test"} <= rule.keys():
        return
    names = signals_of(manifest, row).state.names
    for number in range(MOST_DRAWN):
        state, info = environment.reset(seed=episode_seed(seed, number))
        first = np.asarray(state, np.float64).reshape(-1)
        if len(names) == len(first) and split_of_state(first, names, rule["split_by"], rule["val"], rule["test"]) == split:
            yield Pair(_numbers(first), _numbers(task.own_goal(first, info)), "", 0)


def signals_of(manifest: Manifest, row: int) -> Signals:
    """Raises EvalError for an episode without signals."""
    clip = manifest.clip(row)
    if clip.signals is None:
        raise EvalError(f"{manifest.path}: {clip.path} has no signals; record episodes with `data_prep collect`")
    try:
        return read_signals(clip.signals)
    except SignalError as error:
        raise EvalError(str(error)) from None


def _own(environment: Any, task: Task, origin: Mapping[str, Any], first: Array, clip_id: str) -> Pair:
    """The start and the goal of the recorded episode, which the environment draws again from its seed."""
    seed = (origin.get("reset") or {}).get("seed")
    if seed is None:
        raise EvalError(f"episode {clip_id} does not tell the seed of its reset; give --goals later")
    state, info = environment.reset(seed=int(seed))
    state = np.asarray(state, np.float64).reshape(-1)
    if state.shape != first.shape or not np.allclose(state, first, atol=1e-6):
        raise EvalError(
            f"episode {clip_id}: the environment starts elsewhere than in the recording; its version or options differ"
        )
    return Pair(_numbers(state), _numbers(task.own_goal(state, info)), clip_id, 0)


def _numbers(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def write_pairs(path: Path, pairs: PairSet) -> None:
    write_json(path, {"format": FORMAT_VERSION, **asdict(pairs)})


def read_pairs(path: Path, environment_id: str) -> PairSet:
    """Pairs that `write_pairs` wrote. Raises EvalError for a damaged file, and for another environment."""
    content = read_result(path)
    if content.pop("format", None) != FORMAT_VERSION:
        raise EvalError(f"{path} is no file of pairs in format {FORMAT_VERSION}; `eval plan` writes pairs.json")
    try:
        rows = [
            Pair(_numbers(np.array(row["start"])), _numbers(np.array(row["goal"])), str(row["clip_id"]), int(row["start_step"]))
            for row in content.pop("pairs")
        ]
        found = PairSet(**content, pairs=tuple(rows))
    except (KeyError, TypeError, ValueError) as error:
        raise EvalError(
            f"{path} is no file of pairs ({type(error).__name__}: {error}); `eval plan` writes pairs.json"
        ) from None
    if found.environment != environment_id:
        raise EvalError(f"{path} has pairs of {found.environment}, and --env is {environment_id}")
    if found.members < 1 or len(rows) % found.members:
        raise EvalError(f"{path}: {len(rows)} pairs are no whole number of matched pairs of {found.members}")
    sizes = {len(state) for row in rows for state in (row.start, row.goal)}
    if len(sizes) != 1:
        raise EvalError(f"{path}: states of {sorted(sizes)} numbers; expected one size, and at least one pair")
    return found
