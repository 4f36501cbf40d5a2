"""Reach of the latent distance: how far it grows with steps to go, and with the true distance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from data_prep.environments.tasks import Task
from eval.intervals import bootstrap_of_sums
from eval.planning.action_model import ActionModel
from eval.planning.offline.recorded import Recorded

Array = NDArray[np.float64]
BINS = 10
PAIRS_PER_EPISODE = 64
GROWN = 0.9  # of the highest mean distance
DETOUR = 1.3  # the way to go, relative to the straight distance
FEWEST_DETOURS = 20  # pairs, below which nothing is told about them


@torch.no_grad()
def reach(
    model: ActionModel, episodes: Sequence[Recorded], task: Task | None, device: torch.device, seed: int
) -> dict[str, Any]:
    """How far the distance that plans minimise grows with steps to go, and with the true distance.

    Pairs of frames of the same episode. The reach is the place where the mean distance first comes to
    GROWN of its highest bin: beyond it a planner has no slope to follow. Recorded pairs say little
    about obstacles: most of their ways are almost straight. So the way to go is also compared on
    those pairs alone whose way is at least DETOUR times the straight distance.
    """
    rng = np.random.default_rng(seed)
    # episode, latent distance, steps to go, true distance, length of the way
    rows: list[tuple[int, float, float, float, float]] = []
    for index, episode in enumerate(episodes):
        count = len(episode.latents)
        now = rng.integers(count - 1, size=PAIRS_PER_EPISODE)
        later = now + 1 + (rng.random(PAIRS_PER_EPISODE) * (count - 1 - now)).astype(int)
        latents = episode.latents.to(device)
        found = model.distance(latents[now], latents[later], kind="auto").double().cpu().numpy()
        true = task.distance(episode.states[now], episode.states[later]) if task else np.full(len(now), np.nan)
        way = task.to_go(episode.states[now], episode.states[later]) if task else true
        rows += zip([index] * len(now), found.tolist(), (later - now).tolist(), true.tolist(), way.tolist(), strict=True)
    table = np.array(rows)
    by = {"steps to go": (table, 2)}
    if task:
        by[f"distance ({task.unit})"] = (table, 3)
        detours = table[table[:, 4] > DETOUR * table[:, 3]]
        if len(detours) >= FEWEST_DETOURS:
            by[f"way to go ({task.unit}), detours alone"] = (detours, 4)
    return {name: _growth(of[:, 0].astype(int), of[:, 1], of[:, column]) for name, (of, column) in by.items()}


def _growth(episode: NDArray[np.int64], distance: Array, true: Array) -> dict[str, Any]:
    """Mean distance in bins of equal width of the truth, the reach, and the rank correlation; intervals over episodes."""
    edges = np.linspace(0, float(np.quantile(true, 0.98)), BINS + 1)
    curve = []
    for low, high in pairwise(edges):
        chosen = (true > low) & (true <= high)
        if len(np.unique(episode[chosen])) >= 2:
            sums = _by_group(episode[chosen], distance[chosen])
            value, lower, upper = bootstrap_of_sums(sums, lambda total: total[..., 0] / np.maximum(total[..., 1], 1))
            curve.append({"from": float(low), "to": float(high), "value": value, "low": lower, "high": upper})
    highest = max((it["value"] for it in curve), default=0.0)
    reached = next((it["to"] for it in curve if it["value"] >= GROWN * highest), None)
    ranks = np.stack([rankdata(distance), rankdata(true)], 1) / len(true) - 0.5 * (1 + 1 / len(true))
    products = np.stack([ranks[:, 0] * ranks[:, 1], ranks[:, 0] ** 2, ranks[:, 1] ** 2], 1)
    sums = np.stack([products[episode == index].sum(0) for index in np.unique(episode)])
    value, low, high = bootstrap_of_sums(
        sums, lambda total: total[..., 0] / np.sqrt(np.maximum(total[..., 1] * total[..., 2], 1e-30))
    )
    return {
        "curve": curve,
        "reach": reached,
        "longest": float(edges[-1]),
        "rank_correlation": {"value": value, "low": low, "high": high},
    }


def _by_group(group: NDArray[np.int64], values: Array) -> Array:
    """Sum and number of values of each group: [G, 2]."""
    return np.array([[values[group == index].sum(), (group == index).sum()] for index in np.unique(group)], np.float64)
