"""Scores of policies on the same pairs, with intervals over pairs and planning seeds.

The `members` episodes of a matched pair depend on each other: without memory, one plan serves both, and it succeeds in one of
them. So their mean counts as one value. Pairs that are from one recorded episode depend on each other too: they may overlap. So
intervals resample recorded episodes, with all of their pairs, and tests flip the signs of all of them together.

P pairs, G recorded episodes. groups: the recorded episode of each pair, [P]; None: each pair is from another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from einops import reduce
from numpy.typing import NDArray

from data_prep.environments.tasks import Task, measured
from eval.intervals import bootstrap_crossed, correct_family, sign_flip_p, wilson
from eval.planning.episodes import Episodes
from eval.planning.results import Cost, Difference, PolicyResult, Score

Array = NDArray[np.float64]
Groups = NDArray[np.int64]
DISTANCE_BINS = 4


def success(task: Task, episodes: Sequence[Episodes], goals: Array) -> dict[str, Array]:
    """By criterion: whether each episode was a success, [seeds, P] as 0 and 1."""
    found = {}
    for criterion in task.criteria:
        distances = np.stack([measured(task, criterion, some.states, goals[:, None]) for some in episodes])
        length = np.stack([some.length for some in episodes])
        found[criterion.name] = criterion.reached(distances, length).astype(np.float64)
    return found


def score(values: Array, models: int = 1, members: int = 1, groups: Groups | None = None) -> Score:
    """Mean of [models * seeds, P] with its interval: over recorded episodes and models, and never narrower than Wilson's.

    Planning seeds are averaged first: what they vary differs from pair to pair, so it is in the variation
    of pairs. The bootstrap alone would give an interval of no width where all episodes fail or succeed.

    Matched pairs are averaged too. Wilson's interval needs counts, which their means are not, so it is used only
    where all episodes fail or succeed. There, a recorded episode counts once.
    """
    values, episodes = _by_matched_pair(values, members), values.shape[1]
    pairs, groups = values.shape[1], _of_matched_pairs(groups, members, values.shape[1])
    count = len(np.unique(groups))
    mean, low, high = bootstrap_crossed([_by_group(_by_model(values, models), groups)])
    if values.min() == values.max() in (0.0, 1.0):
        bounds = wilson(round(values.mean() * count), count)
    else:
        bounds = wilson(round(values.mean(0).sum()), pairs) if members == 1 else (low, high)
    low, high = min(low, bounds[0]), max(high, bounds[1])
    found = Score(value=mean, low=max(0.0, min(low, mean)), high=min(1.0, max(high, mean)), n=pairs, seeds=len(values))
    if count < pairs:
        found["groups"] = count
    if members > 1:
        found["episodes"] = episodes
    return found


def _of_matched_pairs(groups: Groups | None, members: int, pairs: int) -> Groups:
    """The recorded episode of each matched pair."""
    return np.arange(pairs) if groups is None else groups[::members]


def _sums(values: Array, groups: Groups) -> tuple[Array, int]:
    """Sums over the pairs of each recorded episode, [..., P] -> [..., G]; in the order of pairs where each has one. And G."""
    names, index = np.unique(groups, return_inverse=True)
    if len(names) == len(groups):
        return values, len(names)
    return values @ (index[:, None] == np.arange(len(names))).astype(np.float64), len(names)


def _by_group(values: Array, groups: Groups) -> Array:
    """Values of recorded episodes, whose mean is the mean over pairs: [models, P] -> [models, G].

    The mean over pairs is a ratio of two sums over episodes, that of the values and that of the pairs. Here it is linearised
    (Cochran 1977, section 6.4): the mean, plus what the pairs of an episode add to it. Of episodes with equally many pairs,
    these are the means of each.
    """
    mean = values.mean(1, keepdims=True)
    deviations, count = _sums(values - mean, groups)
    return values if count == values.shape[1] else mean + deviations * (count / values.shape[1])


def _by_matched_pair(values: Array, members: int) -> Array:
    """Mean over the episodes of a matched pair, which follow one another: [..., P] -> [..., P / members]."""
    return reduce(values, "... (pairs members) -> ... pairs", "mean", members=members) if members > 1 else values


def _by_model(values: Array, models: int) -> Array:
    """Mean over planning seeds: [models * seeds, P] -> [models, P]."""
    means: Array = values.reshape(models, -1, values.shape[1]).mean(1)
    return means


def difference(model: Array, other: Array, models: int = 1, members: int = 1, groups: Groups | None = None) -> Difference:
    """Model minus another policy, paired: [models * seeds, P] and the same, or [seeds, P].

    p by sign flips over recorded episodes, of the mean over models: it does not include the variation between models.
    """
    paired = _by_matched_pair(model - np.tile(other, (len(model) // len(other), 1)), members)
    groups = _of_matched_pairs(groups, members, paired.shape[1])
    mean, low, high = bootstrap_crossed([_by_group(_by_model(paired, models), groups)])
    p = sign_flip_p([_sums(paired.mean(0), groups)[0]])
    return Difference(value=mean, low=low, high=high, p=p, p_holm=p)


def by_distance(
    values: Array, to_go: Array, models: int = 1, members: int = 1, groups: Groups | None = None
) -> list[dict[str, Any]]:
    """Success in bins of equally many pairs by the length of the way at the start: [seeds, P], [P].

    A matched pair is in one bin, by the mean of its ways.
    """
    to_go = np.repeat(_by_matched_pair(to_go, members), members)
    edges = np.quantile(to_go, np.linspace(0, 1, DISTANCE_BINS + 1))
    found = []
    for index in range(DISTANCE_BINS):
        upper = to_go <= edges[index + 1] if index == DISTANCE_BINS - 1 else to_go < edges[index + 1]
        chosen = (to_go >= edges[index]) & upper
        if chosen.any():
            of_bin = score(values[:, chosen], models, members, None if groups is None else groups[chosen])
            found.append({"from": float(edges[index]), "to": float(edges[index + 1]), **of_bin})
    return found


def score_policies(
    task: Task,
    starts: Array,
    goals: Array,
    runs: Mapping[str, Sequence[Episodes]],
    labels: Mapping[str, str],
    model: str,
    seeds: int,
    members: int = 1,
    groups: Groups | None = None,
) -> dict[str, PolicyResult]:
    """Results of all policies; differences are those of the policy `model` to each other one.

    seeds: of planning. members: episodes of a matched pair, which follow one another. groups: see above.
    """
    successes = {name: success(task, episodes, goals) for name, episodes in runs.items()}
    to_go, main = task.to_go(starts, goals), task.criteria[0].name
    found: dict[str, PolicyResult] = {}
    for name, episodes in runs.items():
        models = len(episodes) // seeds
        last = np.stack([task.distance(some.states[:, -1], goals) for some in episodes])
        found[name] = PolicyResult(
            label=labels[name],
            scores={criterion: score(values, models, members, groups) for criterion, values in successes[name].items()},
            by_distance=by_distance(successes[name][main], to_go, models, members, groups),
            cost=_cost(episodes),
            ended_early=int(sum((some.length < some.actions.shape[1]).sum() for some in episodes)),
            final_distance=float(np.median(last)),
        )
        if name != model and model in successes:
            found[name]["model_minus"] = {
                criterion: difference(successes[model][criterion], values, len(runs[model]) // seeds, members, groups)
                for criterion, values in successes[name].items()
            }
    for criterion in task.criteria:
        correct_family([it["model_minus"][criterion.name] for it in found.values() if "model_minus" in it])
    return found


def _cost(episodes: Sequence[Episodes]) -> Cost:
    spent = np.concatenate([some.spent for some in episodes]).sum(0)
    plans = max(spent[0], 1.0)
    return Cost(
        plans=float(spent[0] / sum(len(some.spent) for some in episodes)),
        predicted_steps_per_plan=float(spent[1] / plans),
        seconds_per_plan=float(spent[2] / plans),
    )
