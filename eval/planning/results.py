"""Types of plan.json, which `eval plan` writes and from which tables and the page are made."""

from __future__ import annotations

from typing import Any, TypedDict


class _Score(TypedDict):
    value: float
    low: float
    high: float
    n: int  # pairs; matched pairs where the task has them
    seeds: int


class Score(_Score, total=False):
    """A proportion of successes with its 95 % interval, over recorded episodes and training seeds."""

    groups: int  # recorded episodes that the n pairs are from, and that intervals resample; only where they are fewer than n
    episodes: int  # pairs of start and goal; only where `n` counts matched pairs of them


class Difference(TypedDict):
    """Model minus another policy on the same pairs, in proportions."""

    value: float
    low: float
    high: float
    p: float
    p_holm: float


class Cost(TypedDict):
    """Per episode, means."""

    plans: float
    predicted_steps_per_plan: float
    seconds_per_plan: float


class PolicyResult(TypedDict, total=False):
    label: str
    scores: dict[str, Score]  # by criterion
    model_minus: dict[str, Difference]  # by criterion
    by_distance: list[dict[str, Any]]  # of the first criterion
    cost: Cost
    ended_early: int
    final_distance: float  # median


class HeadTraining(TypedDict):
    """What behaviour cloning or inverse dynamics was trained on. A window is a frame with the planned step after it."""

    windows: int
    episodes: int
    windows_held_out: int  # of the split train, for early stopping
    episodes_held_out: int
    fraction: float  # of all windows of the split: 1 unless the limit of memory left some out
    updates: int  # until the lowest error on held-out episodes
    held_out_error: float  # mean squared, in units of the variance of the actions
    context_frames: int  # that it sees, a planned step apart
    told_steps: int | None  # planned steps that it is told where those to the goal are not known; None: it is told none


class HeadsOfModel(TypedDict):
    model: str
    heads: dict[str, HeadTraining]  # by policy


class PlanResults(TypedDict, total=False):
    made: dict[str, Any]
    environment: dict[str, Any]
    pairs: dict[str, Any]
    protocol: dict[str, Any]
    criteria: list[dict[str, Any]]
    policies: dict[str, PolicyResult]
    verdict: dict[str, str]
    variations: list[dict[str, Any]]
    offline: dict[str, Any]
    heads: list[HeadsOfModel]
    notes: list[str]
