"""Numbers that the field also uses and that mislead alone: each stands beside what those who know nothing get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from eval.intervals import bootstrap_mean
from eval.voe.pairs import TIE, all_right, compare
from eval.voe.scorers import BLIND
from eval.voe.scores.scoreboard import Cell, Scoreboard, in_strata

CHANCE = 0.5
STRICT_CHANCE = 1 / 6  # of 4 films in any order, the two impossible ones come last
FOLDS = 5
Values = NDArray[np.float64]


def published(board: Scoreboard, scorer: str) -> dict[str, Any]:
    """The number of IntPhys-style papers: pairs of one context (or as a benchmark gives them) whose impossible film is
    strictly more surprising, in free windows; a tie is wrong. By property, and "all" pairs together; n counts trials."""
    scores = {name: _strict_scores(board, name) for name in dict.fromkeys((scorer, *BLIND)) if ("free", name) in board.rows}
    found: dict[str, Any] = {}
    for name in ("all", *board.properties):
        strata = board.strata(Cell(name))
        mine = in_strata(scores[scorer], strata)
        if not mine:
            continue
        value, low, high = bootstrap_mean([np.concatenate(mine)])
        beside = {blind: in_strata(scores[blind], strata) for blind in scores if blind != scorer}
        found[name] = {
            "value": value,
            "low": low,
            "high": high,
            "n": sum(map(len, mine)),
            "blind": {blind: float(np.concatenate(theirs).mean()) for blind, theirs in beside.items() if theirs},
        }
    return found


def _strict_scores(board: Scoreboard, scorer: str) -> Values:
    kind = "matched" if "matched" in board.pairs else "same context"
    surprise = board.rows["free", scorer].film_mean(board.context("free", scorer))
    return board.by_trial(kind, surprise, strictly_more)


def strictly_more(possible: Values, impossible: Values) -> Values:
    """1 where the impossible film is more surprising, else 0, ties too; NaN where one is missing."""
    right = np.where(compare(possible, impossible) == 1, 1.0, 0.0)
    return np.where(np.isnan(possible + impossible), np.nan, right)


def diagnostics(board: Scoreboard, windows: str, scorers: Sequence[str]) -> dict[str, Any]:
    """scorer -> diagnostic -> {"value", "chance", "n", "blind": {scorer: value}}, on split test."""
    there = [name for name in dict.fromkeys((*scorers, *BLIND)) if (windows, name) in board.rows]
    found = {name: _diagnose(board, windows, name) for name in there}
    for name in scorers:
        for what, it in found.get(name, {}).items():
            it["blind"] = {b: found[b][what]["value"] for b in there if b in BLIND and b != name and what in found[b]}
    return {name: found[name] for name in scorers if name in found}


def _diagnose(board: Scoreboard, windows: str, scorer: str) -> dict[str, Any]:
    rows, context_s = board.rows[windows, scorer], board.context(windows, scorer)
    mean, most = rows.film_mean(context_s), rows.film_max(context_s)
    places = np.sort(np.concatenate([np.zeros(0, np.int64), *board.strata(Cell())]))
    found: dict[str, Any] = {}

    def note(name: str, values: Values, chance: float = CHANCE) -> None:
        if len(values):
            found[name] = {"value": float(values.mean()), "chance": chance, "n": len(values)}

    by_max = board.by_trial(board.main_kind, most, compare)[places]
    note("max", by_max[np.isfinite(by_max)])
    quadruplets, films, impossible, trial = _labelled(board, places, mean)
    possible_of, impossible_of = quadruplets[:, :2], quadruplets[:, 2:]
    sums = compare(mean[possible_of].sum(1), mean[impossible_of].sum(1))
    note("quadruplet sum", sums)
    of = board.fields["property"][np.searchsorted(board.first_film, quadruplets[:, 0], side="right") - 1]
    for name in board.properties:
        note(f"quadruplet sum, {name}", sums[of == name])
    note("quadruplet sum of max", compare(most[possible_of].sum(1), most[impossible_of].sum(1)))
    note("quadruplet strict", all_right(mean[possible_of], mean[impossible_of]), STRICT_CHANCE)
    if impossible.any() and not impossible.all():
        found["auroc"] = {"value": auroc(mean[films], impossible), "chance": CHANCE, "n": len(films)}
        note("threshold", threshold_accuracy(mean[films], impossible, trial))
    return found


def _labelled(board: Scoreboard, places: NDArray[np.int64], surprise: Values) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Of trials whose films all have a label and a number: films of quadruplets, possible ones first [Q, 4]; and all films,
    whether each is impossible, and its trial [films]."""
    quadruplets: list[list[int]] = []
    films: list[int] = []
    impossible: list[bool] = []
    trials: list[int] = []
    for index in places.tolist():
        first, labels = int(board.first_film[index]), [film.label for film in board.trials[index].films]
        numbers = list(range(first, first + len(labels)))
        if None in labels or not np.isfinite(surprise[numbers]).all():
            continue
        films += numbers
        impossible += [not label for label in labels]
        trials += [index] * len(labels)
        if len(labels) == 4 and sum(map(bool, labels)) == 2:
            quadruplets.append(sorted(numbers, key=lambda number: not labels[number - first]))
    as_places = np.array(quadruplets, np.int64).reshape(-1, 4)
    return as_places, np.array(films, np.int64), np.array(impossible, bool), np.array(trials, np.int64)


def auroc(surprise: Values, impossible: NDArray[np.bool_]) -> float:
    """Chance that an impossible film is more surprising than a possible one, any two; ties one half (Mann-Whitney U / nm)."""
    ranks = rankdata(levels(surprise))
    n = int(impossible.sum())
    return float((ranks[impossible].sum() - n * (n + 1) / 2) / (n * (len(surprise) - n)))


def threshold_accuracy(surprise: Values, impossible: NDArray[np.bool_], group: NDArray[np.int64]) -> Values:
    """[films]: is a film told right by the threshold that does best on films of other groups? Groups are in FOLDS folds."""
    _, order = np.unique(group, return_inverse=True)
    fold, level = order % FOLDS, levels(surprise)
    right = np.full(len(surprise), CHANCE)
    for index in range(FOLDS):
        held_out = fold == index
        if held_out.any() and (taught := ~held_out).any() and impossible[taught].any() and not impossible[taught].all():
            threshold = best_threshold(level[taught], impossible[taught])
            right[held_out] = (level[held_out] > threshold) == impossible[held_out]
    return right


def best_threshold(surprise: Values, impossible: NDArray[np.bool_]) -> float:
    """The value above which films are called impossible, such that the mean of both classes' accuracies is highest; half way
    between two films."""
    distinct, place = np.unique(surprise, return_inverse=True)
    gain = np.where(impossible, -1 / impossible.sum(), 1 / (~impossible).sum())
    best = int(np.argmax(np.cumsum(np.bincount(place, gain))))
    return float(distinct[best : best + 2].mean())


def levels(surprise: Values) -> Values:
    """Values that differ by less than TIE of their size from the next lower one become equal: numbered from 0 upward."""
    order = np.argsort(surprise)
    ordered = surprise[order]
    up = np.diff(ordered) > TIE * np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    found = np.zeros(len(surprise))
    found[order[1:]] = np.cumsum(up)
    return found
