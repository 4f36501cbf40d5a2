"""Other metrics from publications, which can mislead on their own.

Each is shown with the values of the pixel baselines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from eval.intervals import bootstrap_mean
from eval.voe.pairs import TIE_TOLERANCE, score_pairs, strictly_ordered
from eval.voe.scorers import PIXEL_BASELINES, ScorerId
from eval.voe.scores.score_types import Diagnostic, PublishedScore
from eval.voe.scores.scoreboard import Cell, Scoreboard, in_strata

CHANCE = 0.5
STRICT_CHANCE = 1 / 6  # of 4 videos in random order, the two impossible ones come last
FOLDS = 5
Values = NDArray[np.float64]
BASELINES = tuple(map(ScorerId, PIXEL_BASELINES))


def published(board: Scoreboard, scorer: ScorerId) -> dict[str, PublishedScore]:
    """The metric of IntPhys-style papers: pairs whose impossible video has strictly more surprise.

    Pairs are those of one context, or those that a benchmark gives, in sliding windows. A tie is
    wrong. By property, and "all" pairs together; n counts trials.
    """
    names = dict.fromkeys((scorer, *BASELINES))
    scores = {name: _strict_scores(board, name) for name in names if ("sliding", name) in board.rows}
    found: dict[str, PublishedScore] = {}
    for name in ("all", *board.properties):
        strata = board.strata(Cell(name))
        mine = in_strata(scores[scorer], strata)
        if not mine:
            continue
        value, low, high = bootstrap_mean([np.concatenate(mine)])
        others = {str(other): in_strata(scores[other], strata) for other in scores if other != scorer}
        found[name] = {
            "value": value,
            "low": low,
            "high": high,
            "n": sum(map(len, mine)),
            "pixel_baselines": {other: float(np.concatenate(it).mean()) for other, it in others.items() if it},
        }
    return found


def _strict_scores(board: Scoreboard, scorer: ScorerId) -> Values:
    kind = "matched" if "matched" in board.pairs else "same context"
    surprise = board.rows["sliding", scorer].video_mean(board.context("sliding", scorer))
    return board.by_trial(kind, surprise, strictly_more)


def strictly_more(possible: Values, impossible: Values) -> Values:
    """1 where the impossible video has strictly more surprise, else 0, NaN where one is missing."""
    right = np.where(score_pairs(possible, impossible) == 1, 1.0, 0.0)
    return np.where(np.isnan(possible + impossible), np.nan, right)


def diagnostics(board: Scoreboard, windows: str, scorers: Sequence[ScorerId]) -> dict[str, dict[str, Diagnostic]]:
    """scorer -> name of the diagnostic -> Diagnostic, on split test."""
    present = [name for name in dict.fromkeys((*scorers, *BASELINES)) if (windows, name) in board.rows]
    found = {name: _diagnose(board, windows, name) for name in present}
    for name in scorers:
        for what, it in found.get(name, {}).items():
            others = (other for other in present if other in BASELINES and other != name and what in found[other])
            it["pixel_baselines"] = {str(other): found[other][what]["value"] for other in others}
    return {str(name): found[name] for name in scorers if name in found}


def _diagnose(board: Scoreboard, windows: str, scorer: ScorerId) -> dict[str, Diagnostic]:
    rows, context_s = board.rows[windows, scorer], board.context(windows, scorer)
    mean, most = rows.video_mean(context_s), rows.video_max(context_s)
    trials = np.sort(np.concatenate([np.zeros(0, np.int64), *board.strata(Cell())]))
    found: dict[str, Diagnostic] = {}

    def note(name: str, values: Values, chance: float = CHANCE) -> None:
        if len(values):
            found[name] = {"value": float(values.mean()), "chance": chance, "n": len(values)}

    by_max = board.by_trial(board.main_kind, most, score_pairs)[trials]
    note("max", by_max[np.isfinite(by_max)])
    quadruplets, videos, impossible, trial = _labelled(board, trials, mean)
    possible_of, impossible_of = quadruplets[:, :2], quadruplets[:, 2:]
    sums = score_pairs(mean[possible_of].sum(1), mean[impossible_of].sum(1))
    note("quadruplet sum", sums)
    of = board.fields["property"][np.searchsorted(board.first_video, quadruplets[:, 0], side="right") - 1]
    for name in board.properties:
        note(f"quadruplet sum, {name}", sums[of == name])
    note("quadruplet sum of max", score_pairs(most[possible_of].sum(1), most[impossible_of].sum(1)))
    note("quadruplet strict", strictly_ordered(mean[possible_of], mean[impossible_of]), STRICT_CHANCE)
    if impossible.any() and not impossible.all():
        found["auroc"] = {"value": auroc(mean[videos], impossible), "chance": CHANCE, "n": len(videos)}
        note("threshold", threshold_accuracy(mean[videos], impossible, trial))
    return found


def _labelled(board: Scoreboard, trials: NDArray[np.int64], surprise: Values) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Videos of the trials whose videos all have a label and a surprise.

    (quadruplets, possible videos first [Q, 4]; all videos; whether each is impossible; the trial of
    each [videos]).
    """
    quadruplets: list[list[int]] = []
    videos: list[int] = []
    impossible: list[bool] = []
    trial_of: list[int] = []
    for index in trials.tolist():
        first, labels = int(board.first_video[index]), [video.label for video in board.trials[index].videos]
        numbers = list(range(first, first + len(labels)))
        if None in labels or not np.isfinite(surprise[numbers]).all():
            continue
        videos += numbers
        impossible += [not label for label in labels]
        trial_of += [index] * len(labels)
        if len(labels) == 4 and sum(map(bool, labels)) == 2:
            quadruplets.append(sorted(numbers, key=lambda number: not labels[number - first]))
    indices = np.array(quadruplets, np.int64).reshape(-1, 4)
    return indices, np.array(videos, np.int64), np.array(impossible, bool), np.array(trial_of, np.int64)


def auroc(surprise: Values, impossible: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of surprise; a tie is one half (Mann-Whitney U / nm)."""
    ranks = rankdata(levels(surprise))
    n = int(impossible.sum())
    return float((ranks[impossible].sum() - n * (n + 1) / 2) / (n * (len(surprise) - n)))


def threshold_accuracy(surprise: Values, impossible: NDArray[np.bool_], group: NDArray[np.int64]) -> Values:
    """[videos]: 1 where a threshold chosen on videos of other groups classifies a video correctly.

    Groups are divided into FOLDS folds.
    """
    _, order = np.unique(group, return_inverse=True)
    fold, level = order % FOLDS, levels(surprise)
    right = np.full(len(surprise), CHANCE)
    for index in range(FOLDS):
        held_out = fold == index
        if held_out.any() and (fitted := ~held_out).any() and impossible[fitted].any() and not impossible[fitted].all():
            threshold = best_threshold(level[fitted], impossible[fitted])
            right[held_out] = (level[held_out] > threshold) == impossible[held_out]
    return right


def best_threshold(surprise: Values, impossible: NDArray[np.bool_]) -> float:
    """The threshold with the highest mean of both classes' accuracies, half way between two videos.

    Videos above it are classified as impossible.
    """
    distinct, index = np.unique(surprise, return_inverse=True)
    gain = np.where(impossible, -1 / impossible.sum(), 1 / (~impossible).sum())
    best = int(np.argmax(np.cumsum(np.bincount(index, gain))))
    return float(distinct[best : best + 2].mean())


def levels(surprise: Values) -> Values:
    """Ranks from 0 upward, in which a value that ties with the next lower one has the same rank."""
    order = np.argsort(surprise)
    ordered = surprise[order]
    up = np.diff(ordered) > TIE_TOLERANCE * np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    found = np.zeros(len(surprise))
    found[order[1:]] = np.cumsum(up)
    return found
