"""Traces and trials -> every number of an evaluation. Pure numpy: needs neither the model nor the films.

A film's number is the mean over windows of the mean over steps of its surprise. A pair is right when its impossible film is
the more surprising one; a tie is one half. Pairs of one trial are not independent, so trials are what is counted, drawn
and flipped; untrained networks are a sample, too, and drawn as well. The headline is taken in locked windows: their contexts
end in full occlusion, so that whatever copies what it saw last is at one half exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from eval.intervals import bootstrap_crossed, bootstrap_mean, holm, sign_flip_p, wilson
from eval.voe.scorers import BLIND, baselines_of, is_ablation, subjects
from eval.voe.scores.diagnostics import diagnostics, published
from eval.voe.scores.localisation import localisation
from eval.voe.scores.psychometric import curves, magnitude, occlusion_s
from eval.voe.scores.scoreboard import BALANCED, Cell, Scoreboard, in_strata, mean_of
from eval.voe.surprise.traces import Traces
from eval.voe.trials import Trial

CHANCE = 0.5
SECRET = "No labels: nothing can be scored here; `python -m eval export OUT --to FILE` writes the answers to send in."
FEWEST_GROUPS = 30  # below, a headline is a range
SHORT = (["all"], ["all"])  # levels and copy classes of a tree that is cut short
Score = dict[str, Any]


def score(trials: Sequence[Trial], traces: Traces, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """All numbers, as scores.json holds them; values are shares 0 to 1."""
    board = Scoreboard(trials, traces, protocol)
    if not board.pairs:
        return {"format": 1, "headline": {}, "tree": {}, "notes": [SECRET]}
    named = subjects(dict.fromkeys(scorer for _, scorer in board.rows), protocol["model"]["spec"])
    free = [name for name in named if ("free", name) in board.rows]
    return {
        "format": 1,
        "headline": {name: it for name in named if (it := headline(board, name)) is not None},
        "tree": {windows: _trees(board, windows, named) for windows in board.windows()},
        "splits": {
            split: {
                w: {n: tree(board, w, n, split, beside=False) for n in named if (w, n) in board.rows} for w in board.windows()
            }
            for split in sorted({trial.split for trial in trials} - {"test"})
        },
        "magnitude": curves(board, named, magnitude),
        "occlusion_s": curves(board, named, occlusion_s),
        "published": {name: published(board, name) for name in free},
        "diagnostics": {w: diagnostics(board, w, named) for w in board.windows()},
        "localisation": {
            name: found
            for name in dict.fromkeys((*named, *BLIND))
            if ("free", name) in board.rows and (found := localisation(board, name))
        },
        **_contexts(board, free),
        "left_out": left_out(board, protocol.get("left_out", ())),
        "notes": list(_notes(board, named)),
    }


def measure(
    board: Scoreboard, windows: str, scorer: str, kind: str, cell: Cell, tests: bool = True, beside: bool = True
) -> Score | None:
    """One number with all that must stand beside it; None where no trial of the cell has one. Tests against untrained
    networks are against those that were asked: their interval says how far others may be."""
    wanted, mine = board.strata(cell), board.scores(windows, scorer, kind)
    strata = in_strata(mine, wanted)
    if not strata or (cell.copy_class == BALANCED and len(strata) < len(wanted)):
        return None
    pool = board.seeds_there(windows, scorer)
    value, low, high = bootstrap_crossed(board.by_network(windows, scorer, kind, wanted)) if pool else bootstrap_mean(strata)
    n = sum(len(values) for values in strata)
    found: Score = {"value": value, "low": max(low, 0.0), "high": min(high, 1.0), "n": n, "chance": CHANCE, "p": None}
    if pool:
        found["networks"] = len(pool)
    elif len(strata) == 1 and np.isin(strata[0], (0.0, 1.0)).all():
        found["wilson_low"], found["wilson_high"] = wilson(int(strata[0].sum()), n)
    if tests and not pool:  # signs of trials cannot be flipped one by one where the same few networks judge them all
        found["p"] = sign_flip_p([values - CHANCE for values in strata])
    there = board.scorers(windows) if beside else []
    blind = {name: in_strata(board.scores(windows, name, kind), wanted) for name in BLIND if name in there and name != scorer}
    found["blind"] = {name: mean_of(values) if values else None for name, values in blind.items()}
    found["baselines"] = {}
    for name in baselines_of(scorer, there):
        theirs = board.scores(windows, name, kind)
        values = in_strata(theirs, wanted)
        baseline: Score = {"value": mean_of(values) if values else None}
        if tests and (differences := in_strata(mine - theirs, wanted)):
            baseline["p"] = sign_flip_p(differences)
        context = board.context(windows, name)
        seeds = [
            in_strata(board.trial_scores(windows, seed, kind, context), wanted) for seed in board.seeds_there(windows, name)
        ]
        if each := [mean_of(some) for some in seeds if some]:
            baseline["seeds"] = [min(each), max(each)]
        found["baselines"][name] = baseline
    return found


def headline(board: Scoreboard, scorer: str) -> Score | None:
    """Locked windows, both kinds of pair, every spliced occluded property together; the pairs as the benchmark gives them
    where nothing is locked. A range without a value where groups are few."""
    hidden = "occluded" if "occluded" in board.named("visibility") else "all"
    cell = Cell(visibility=hidden, spliced=True)
    windows = "locked"
    if not any(
        in_strata(board.scores("locked", name, board.main_kind), board.strata(cell)) for name in board.scorers("locked")
    ):
        windows, cell = "free", Cell()
    it = measure(board, windows, scorer, board.main_kind, cell) if (windows, scorer) in board.rows else None
    if it is None:
        return None
    where = {"windows": windows, "kind": board.main_kind}
    if it["n"] < FEWEST_GROUPS:
        return {"range": [it["low"], it["high"]], "n": it["n"], "why": f"fewer than {FEWEST_GROUPS} groups", **where}
    return {**it, **where}


def tree(board: Scoreboard, windows: str, scorer: str, split: str = "test", short: bool = False, beside: bool = True) -> Score:
    """property -> visibility -> level -> copy class -> kind -> Score. Tests where nothing but visibility is fixed."""
    visibilities = ["all", *board.named("visibility", split)]
    levels, classes = SHORT if short else (["all", *board.named(name, split)] for name in ("level", "copy_class"))
    if {"easy", "hard"} & set(classes) and windows == "free":
        classes = [*classes, BALANCED]
    names = [name for name in board.properties if board.strata(Cell(name, split=split))]
    found: Score = {}
    for name, visibility, level, copy_class, kind in product(("all", *names), visibilities, levels, classes, board.kinds):
        cell = Cell(name, visibility, level, copy_class, split)
        it = measure(board, windows, scorer, kind, cell, level == copy_class == "all", beside)
        there = found.get(name, {}).get(visibility, {}).get(level, {})
        # an empty class is said to be one: "balanced" is None where a property has no easy or no hard trials
        if it is not None or (copy_class == BALANCED and there):
            found.setdefault(name, {}).setdefault(visibility, {}).setdefault(level, {}).setdefault(copy_class, {})[kind] = it
    for visibility, kind in product(visibilities, board.kinds):
        _correct([found.get(name, {}).get(visibility, {}).get("all", {}).get("all", {}).get(kind) for name in names])
    return found


def _correct(family: Sequence[Score | None]) -> None:
    """Holm over properties: of the tests against chance, and of those against each baseline."""
    scores = [it for it in family if it is not None]
    tests = {"": scores}
    for it in scores:
        for name, baseline in it["baselines"].items():
            tests.setdefault(name, []).append(baseline)
    for some in tests.values():
        known = {str(place): it["p"] for place, it in enumerate(some) if it.get("p") is not None}
        for place, p in holm(known).items():
            some[int(place)]["p_holm"] = p


def _trees(board: Scoreboard, windows: str, named: Sequence[str]) -> dict[str, Score]:
    """Whole trees of the model's scorers; cut short of its ablations, its baselines and the blind, which stand alone."""
    there = board.scorers(windows)
    pooled = {seed for pool in board.seeds for seed in board.seeds_there(windows, pool)}
    found = {name: tree(board, windows, name, short=is_ablation(name)) for name in named if name in there}
    others = [name for name in there if name not in found and name not in pooled]
    return found | {name: tree(board, windows, name, short=True, beside=False) for name in others}


def _contexts(board: Scoreboard, free: Sequence[str]) -> dict[str, Any]:
    """Free windows by context length on val and test, the length that was taken, and the best on test, labelled so."""
    contexts, best = {}, {}
    for name in free:
        val, test = (board.by_context(name, split) for split in ("val", "test"))
        there = sorted({*val, *test})
        contexts[name] = {f"{context:.4g}": {"val": val.get(context), "test": test.get(context)} for context in there}
        if test:
            top = max(test, key=lambda context: (round(test[context], 9), -context))
            best[name] = {"context_s": top, "value": test[top], "label": "chosen on test: not a result"}
    return {
        "contexts": contexts,
        "context_s": {name: board.context("free", name) for name in board.scorers("free")},
        "best_on_test": best,
    }


def left_out(board: Scoreboard, unread: Sequence[str] | Mapping[str, str] = ()) -> dict[str, list[str]]:
    """Films that a scorer has no number for, so that their trials are missing in its scores. In locked windows: of trials
    that somebody judged there, since many have none."""
    of_trial = np.repeat(np.arange(len(board.trials)), np.diff(board.first_film))
    scored = {key: np.isfinite(rows.film_mean()) for key, rows in board.rows.items()}
    unreadable = np.isin(np.array(board.film_ids, object).astype(str), np.array(sorted(unread), str))
    found = {}
    for scorer in dict.fromkeys(scorer for _, scorer in board.rows):
        missing = unreadable.copy()
        for windows in board.windows():
            if (windows, scorer) not in scored:
                continue
            judged = np.any([films for (kind, _), films in scored.items() if kind == windows], axis=0)
            trials = np.bincount(of_trial, judged, len(board.trials)) > 0
            expected = trials[of_trial] if windows == "locked" else np.full(len(of_trial), True)
            missing |= expected & ~scored[windows, scorer]
        if missing.any():
            found[scorer] = [board.film_ids[film] for film in np.flatnonzero(missing)]
    return found


def _notes(board: Scoreboard, named: Sequence[str]) -> Iterator[str]:
    several = any(len(board.trace("free", name).contexts()) > 1 for name in named if ("free", name) in board.rows)
    if several and board.given_s is None and not board.strata(Cell(split="val")):
        yield (
            f"This suite has no val split to choose a context length on: free windows are judged at the protocol's shortest, "
            f"{board.first_s:.3g} s. Give another, fixed in advance, with --contexts."
        )
    if board.windows() == ["free"]:
        yield "No window of these trials ends in full occlusion: the headline is of free windows, where copying can help."
    if "easy" in board.named("copy_class") or "hard" in board.named("copy_class"):
        lacking = [name for name in board.properties if not board.strata(Cell(name, copy_class=BALANCED))]
        if lacking:
            yield f"Without a balanced score, since easy or hard trials are missing: {', '.join(lacking)}."
    everywhere = {name for windows in board.windows() for name in board.scorers(windows)}
    if "locked" in board.windows() and (unjudged := [n for n in named if n in everywhere - {*board.scorers("locked")}]):
        yield f"Not judged in locked windows: {', '.join(unjudged)}."
