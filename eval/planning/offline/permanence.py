"""Does a model remember what it saw? Surprise when a hand brings an object out, from behind the right or the wrong screen.

The episodes of a matched pair have the same pictures from the moment of planning until an action uncovers the difference. The
same actions in both give two possible videos; exchanging what follows the moment of planning gives two impossible ones. Every
picture occurs in one video of each kind, so without memory the surprise at both is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.environments.making import make_environment
from data_prep.environments.tasks import WatchedTask
from eval.intervals import bootstrap_of_sums
from eval.planning.action_model import ActionModel
from eval.planning.episodes import picture_of
from eval.planning.pairs import PairSet

Array = NDArray[np.float64]
Frames = NDArray[np.uint8]
TIE = 1e-5  # relative difference of surprise that is rounding


@dataclass(frozen=True)
class MatchedVideos:
    """Q matched pairs of videos under the same actions. Frames are a planned step apart."""

    seen: Frames  # [Q, 2, T, H, W, 3], up to the moment of planning, which is the last frame
    outcome: Frames  # [Q, 2, K, H, W, 3], after each planned step
    before: Array  # [Q, T - 1, A], actions until the moment of planning
    actions: Array  # [Q, K, A], actions after it


def matched_videos(
    environment_id: str, options: Mapping[str, Any], task: WatchedTask, pairs: PairSet, model: ActionModel
) -> MatchedVideos:
    """For each episode of the pairs: the scripted policy solves it, and the same actions are executed in the matched one."""
    block, size = model.actions_per_step, len(np.asarray(model.statistics.action_mean))
    steps = task.budget - task.budget % block
    made = make_environment(environment_id, options)
    found: dict[str, list[Any]] = {"seen": [], "outcome": [], "actions": []}
    idle = np.zeros((task.lead_in_steps, size))

    def pictures(states: Array) -> Frames:
        return np.stack([picture_of(made, environment_id, task, state) for state in states])

    try:
        for first in range(0, len(pairs.pairs), pairs.members):
            starts, goal = pairs.starts[first : first + 2], pairs.goals_array[first]
            watched = np.stack([_states(task, start, idle) for start in starts])
            seen = np.stack([pictures(states[::-1][::block][::-1]) for states in watched])
            for states in watched:
                actions = _scripted(task, states[-1], goal, steps)
                outcomes = [pictures(_states(task, other[-1], actions)[block::block]) for other in watched]
                found["seen"].append(seen)
                found["outcome"].append(np.stack(outcomes))
                found["actions"].append(actions.reshape(steps // block, -1))
    finally:
        made.close()
    actions = np.stack(found["actions"])
    seen = np.stack(found["seen"])
    return MatchedVideos(seen, np.stack(found["outcome"]), np.zeros((len(seen), seen.shape[2] - 1, actions.shape[-1])), actions)


def _states(task: WatchedTask, start: Array, actions: Array) -> Array:
    """[S], [T, A] -> [T + 1, S]"""
    states = [start]
    for action in actions:
        states.append(task.step(states[-1], action))
    return np.stack(states)


def _scripted(task: WatchedTask, state: Array, goal: Array, steps: int) -> Array:
    """[S] -> [steps, A]"""
    actions = []
    for _ in range(steps):
        action = task.scripted(state, goal)
        assert action is not None
        actions.append(action)
        state = task.step(state, action)
    return np.stack(actions)


@torch.no_grad()
def surprises(model: ActionModel, videos: MatchedVideos, context: int, device: torch.device) -> Array:
    """Mean latent distance of forecasts after each of two pasts to each of two outcomes: [Q, 2, 2]."""
    seen, outcome = torch.from_numpy(videos.seen)[:, :, -context:], torch.from_numpy(videos.outcome)
    before, actions = (torch.from_numpy(some).float().to(device) for some in (videos.before, videos.actions))
    before = before[:, before.shape[1] - (seen.shape[2] - 1) :]
    rows: list[Array] = []
    for index in range(len(seen)):
        # both pasts together with the same actions
        past = model.observe(seen[index].to(device), before[index].expand(2, -1, -1) if seen.shape[2] > 1 else None)
        imagined = model.imagine(past, actions[index].expand(2, 1, -1, -1))[:, 0]  # [2, K, N, D]
        came = model.encode(outcome[index].to(device))  # [2, K, N, D]
        distance = model.distance(imagined[:, None], came[None], kind="latent")  # [2, 2, K]
        rows.append(distance.mean(-1).double().cpu().numpy())
    return np.stack(rows)


def permanence(found: Array, members: int = 2) -> dict[str, Any]:
    """How often impossible videos surprise more than possible ones, and by how much: [Q, 2, 2].

    accuracy: over quadruplets; ties count half. effect: difference by sum of both surprises, from -1 to 1. Intervals are over
    matched pairs, which have `members` quadruplets each.
    """
    possible, impossible = found[:, 0, 0] + found[:, 1, 1], found[:, 0, 1] + found[:, 1, 0]
    effect = (impossible - possible) / np.maximum(impossible + possible, 1e-30)
    right = np.where(np.abs(effect) < TIE, 0.5, effect > 0)
    return {"n": len(found), "chance": 0.5, "accuracy": _mean(right, members), "effect": _mean(effect, members)}


def _mean(values: Array, members: int) -> dict[str, float]:
    grouped = values.reshape(-1, members)
    sums = np.stack([grouped.sum(1), np.full(len(grouped), float(members))], 1)
    value, low, high = bootstrap_of_sums(sums, lambda total: total[..., 0] / total[..., 1])
    return {"value": value, "low": low, "high": high}


def measure_permanence(
    model: ActionModel,
    environment_id: str,
    options: Mapping[str, Any],
    task: WatchedTask,
    pairs: PairSet,
    contexts: Sequence[int],
    device: torch.device,
) -> dict[str, Any]:
    """`permanence` of a model that sees so many frames, by number of frames."""
    videos = matched_videos(environment_id, options, task, pairs, model)
    return {str(context): permanence(surprises(model, videos, context, device), pairs.members) for context in contexts}


def permanence_note(found: Mapping[str, Any]) -> str:
    """One sentence for the tables: {"8": ..., "1": ...} as of `measure_permanence`."""
    parts = []
    for frames, it in found.items():
        accuracy = " ".join(f"{100 * it['accuracy'][name]:.1f}" for name in ("value", "low", "high")).split()
        parts.append(f"{accuracy[0]} % [{accuracy[1]}, {accuracy[2]}] with {frames} frame{'s' if frames != '1' else ''}")
    count = next(iter(found.values()))["n"]
    return f"Permanence: the impossible videos surprise more in {', '.join(parts)} of {count} quadruplets (chance: 50 %)"
