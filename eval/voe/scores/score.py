"""Traces and trials -> all numbers of an evaluation, without the model and the videos.

The number of a video is the mean over windows of the mean over steps of its surprise. A pair is
right when its impossible video has the higher surprise; a tie is one half. Pairs of one trial are
not independent, so trials are the unit that is counted, resampled and flipped. Untrained networks
are resampled as well. The headline is computed in locked windows: their contexts end in full
occlusion, so a scorer that copies the last frame is at one half exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from eval.intervals import bootstrap_crossed, bootstrap_mean, correct_family, sign_flip_p, wilson
from eval.voe.scorers import ScorerId, baselines_of, evaluated_scorers
from eval.voe.scores.diagnostics import BASELINES, diagnostics, published
from eval.voe.scores.localisation import localisation
from eval.voe.scores.psychometric import curves, magnitude, occlusion_s
from eval.voe.scores.questions import question_scores
from eval.voe.scores.score_types import BaselineScore, CellScore, Headline, Tree
from eval.voe.scores.scoreboard import BALANCED, Cell, Scoreboard, in_strata, mean_over_strata
from eval.voe.surprise.traces import Traces
from eval.voe.trials import Trial

FORMAT = 2
CHANCE = 0.5
SECRET = "The labels are secret, so no scores can be computed; `python -m eval submit OUT --to FILE` writes the answers."
MIN_TRIALS = 30  # with fewer, the headline is an interval without a value
SHORT = (["all"], ["all"])  # levels and copy classes of a short tree


def score(trials: Sequence[Trial], traces: Traces, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """All numbers, as scores.json holds them. Values are fractions from 0 to 1."""
    board, precision = Scoreboard(trials, traces, protocol), protocol["model"].get("precision", "fp32")
    if not board.pairs:
        return {"format": FORMAT, "precision": precision, "headline": {}, "tree": {}, "notes": [SECRET]}
    evaluated = evaluated_scorers(dict.fromkeys(scorer for _, scorer in board.rows), protocol["model"]["spec"])
    sliding = [it for it in evaluated if ("sliding", it) in board.rows]
    headlines = {str(it): found for it in evaluated if (found := headline(board, it)) is not None}
    return {
        "format": FORMAT,
        "precision": precision,
        "headline": headlines,
        "questions": {
            str(it): by_question
            for it in evaluated
            if str(it) in headlines and (by_question := question_scores(board, headlines[str(it)]["windows"], it, MIN_TRIALS))
        },
        "tree": {windows: _trees(board, windows, evaluated) for windows in board.windows()},
        "splits": {
            split: {windows: _split_trees(board, windows, evaluated, split) for windows in board.windows()}
            for split in sorted({trial.split for trial in trials} - {"test"})
        },
        "magnitude": curves(board, evaluated, magnitude),
        "occlusion_s": curves(board, evaluated, occlusion_s),
        "published": {str(it): published(board, it) for it in sliding},
        "diagnostics": {windows: diagnostics(board, windows, evaluated) for windows in board.windows()},
        "localisation": {
            str(it): peaks
            for it in dict.fromkeys((*evaluated, *BASELINES))
            if ("sliding", it) in board.rows and (peaks := localisation(board, it))
        },
        **_contexts(board, sliding),
        "left_out": left_out(board, protocol.get("left_out", ())),
        "notes": list(_notes(board, evaluated)),
    }


def cell_score(
    board: Scoreboard, windows: str, scorer: ScorerId, kind: str, cell: Cell, tests: bool = True, baselines: bool = True
) -> CellScore | None:
    """The score of a cell; None where no trial of the cell has one.

    tests: add sign-flip tests. baselines: add the scores of all baselines. Tests against untrained
    networks use the evaluated ones only; their interval covers other networks, too.
    """
    wanted, mine = board.strata(cell), board.scores(windows, scorer, kind)
    strata = in_strata(mine, wanted)
    if not strata or (cell.copy_class == BALANCED and len(strata) < len(wanted)):
        return None
    pool = board.seeds_there(windows, scorer)
    value, low, high = bootstrap_crossed(board.by_network(windows, scorer, kind, wanted)) if pool else bootstrap_mean(strata)
    n = sum(len(values) for values in strata)
    found: CellScore = {"value": value, "low": max(low, 0.0), "high": min(high, 1.0), "n": n, "chance": CHANCE, "p": None}
    if pool:
        found["networks"] = len(pool)
    elif len(strata) == 1 and np.isin(strata[0], (0.0, 1.0)).all():
        found["wilson_low"], found["wilson_high"] = wilson(int(strata[0].sum()), n)
    if tests and not pool:  # trials are not independent where the same few networks score all of them
        found["p"] = sign_flip_p([values - CHANCE for values in strata])
    others = board.scorers(windows) if baselines else []
    pixels = {it: in_strata(board.scores(windows, it, kind), wanted) for it in BASELINES if it in others and it != scorer}
    found["pixel_baselines"] = {str(it): mean_over_strata(values) if values else None for it, values in pixels.items()}
    found["baselines"] = {
        str(it): _baseline(board, windows, it, kind, cell, mine, tests) for it in baselines_of(scorer, others)
    }
    return found


def _baseline(
    board: Scoreboard, windows: str, scorer: ScorerId, kind: str, cell: Cell, mine: np.ndarray, tests: bool
) -> BaselineScore:
    """The score of a baseline, and a test of its differences from the scores of the model [trials]."""
    wanted, theirs = board.strata(cell), board.scores(windows, scorer, kind)
    values = in_strata(theirs, wanted)
    found: BaselineScore = {"value": mean_over_strata(values) if values else None}
    if tests and (differences := in_strata(mine - theirs, wanted)):
        found["p"] = sign_flip_p(differences)
    context = board.context(windows, scorer)
    seeds = board.seeds_there(windows, scorer)
    by_seed = [in_strata(board.trial_scores(windows, seed, kind, context), wanted) for seed in seeds]
    if each := [mean_over_strata(some) for some in by_seed if some]:
        found["seeds"] = [min(each), max(each)]
    return found


def headline(board: Scoreboard, scorer: ScorerId) -> Headline | None:
    """The headline: locked windows, both kinds of pair, all spliced occluded trials.

    Without locked windows it uses sliding windows and the pairs that the benchmark gives. With few
    trials it is an interval without a value.
    """
    visibility = "occluded" if "occluded" in board.values_of("visibility") else "all"
    cell = Cell(visibility=visibility, spliced=True)
    windows = "locked"
    if not any(in_strata(board.scores("locked", it, board.main_kind), board.strata(cell)) for it in board.scorers("locked")):
        windows, cell = "sliding", Cell()
    it = cell_score(board, windows, scorer, board.main_kind, cell) if (windows, scorer) in board.rows else None
    if it is None:
        return None
    if it["n"] < MIN_TRIALS:
        return {
            "range": [it["low"], it["high"]],
            "n": it["n"],
            "reason": f"fewer than {MIN_TRIALS} trials",
            "windows": windows,
            "kind": board.main_kind,
        }
    found: Headline = {**it, "windows": windows, "kind": board.main_kind}
    return found


def tree(
    board: Scoreboard, windows: str, scorer: ScorerId, split: str = "test", short: bool = False, baselines: bool = True
) -> Tree:
    """property -> visibility -> level -> copy class -> kind of pair -> CellScore.

    short: without levels and copy classes. Cells have tests where no level and no copy class is
    fixed.
    """
    visibilities = ["all", *board.values_of("visibility", split)]
    levels, classes = SHORT if short else (["all", *board.values_of(name, split)] for name in ("level", "copy_class"))
    if {"easy", "hard"} & set(classes) and windows == "sliding":
        classes = [*classes, BALANCED]
    names = [name for name in board.properties if board.strata(Cell(name, split=split))]
    found: Tree = {}
    for name, visibility, level, copy_class, kind in product(("all", *names), visibilities, levels, classes, board.kinds):
        cell = Cell(name, visibility, level, copy_class, split)
        it = cell_score(board, windows, scorer, kind, cell, level == copy_class == "all", baselines)
        by_class = found.get(name, {}).get(visibility, {}).get(level, {})
        # "balanced" is None where a property has no easy or no hard trials, so that readers see
        # that it is missing
        if it is not None or (copy_class == BALANCED and by_class):
            found.setdefault(name, {}).setdefault(visibility, {}).setdefault(level, {}).setdefault(copy_class, {})[kind] = it
    for visibility, kind in product(visibilities, board.kinds):
        family = [found.get(name, {}).get(visibility, {}).get("all", {}).get("all", {}).get(kind) for name in names]
        _correct_over_properties([it for it in family if it is not None])
    return found


def _correct_over_properties(family: Sequence[CellScore]) -> None:
    """Add p_holm to the tests against chance, and to those against each baseline."""
    correct_family(family)
    for name in dict.fromkeys(name for it in family for name in it["baselines"]):
        correct_family([it["baselines"][name] for it in family if name in it["baselines"]])


def _trees(board: Scoreboard, windows: str, evaluated: Sequence[ScorerId]) -> dict[str, Tree]:
    """Complete trees of the model's scorers; short trees of its ablations and of baselines."""
    present = board.scorers(windows)
    pooled = {seed for pool in board.seeds for seed in board.seeds_there(windows, pool)}
    found = {it: tree(board, windows, it, short=it.is_whitening_ablation) for it in evaluated if it in present}
    others = [it for it in present if it not in found and it not in pooled]
    found |= {it: tree(board, windows, it, short=True, baselines=False) for it in others}
    return {str(it): by_property for it, by_property in found.items()}


def _split_trees(board: Scoreboard, windows: str, evaluated: Sequence[ScorerId], split: str) -> dict[str, Tree]:
    return {str(it): tree(board, windows, it, split, baselines=False) for it in evaluated if (windows, it) in board.rows}


def _contexts(board: Scoreboard, sliding: Sequence[ScorerId]) -> dict[str, Any]:
    """Scores by context length on val and test, the chosen length, and the best on test."""
    contexts, best = {}, {}
    for scorer in sliding:
        val, test = (board.by_context(scorer, split) for split in ("val", "test"))
        lengths = sorted({*val, *test})
        contexts[str(scorer)] = {f"{context:.4g}": {"val": val.get(context), "test": test.get(context)} for context in lengths}
        if test:
            top = max(test, key=lambda context: (round(test[context], 9), -context))
            best[str(scorer)] = {"context_s": top, "value": test[top], "label": "chosen on test: not a result"}
    return {
        "contexts": contexts,
        "context_s": {str(it): board.context("sliding", it) for it in board.scorers("sliding")},
        "best_on_test": best,
    }


def left_out(board: Scoreboard, unread: Sequence[str] | Mapping[str, str] = ()) -> dict[str, list[str]]:
    """Videos without a surprise by a scorer, whose trials are missing in its scores.

    In locked windows a video counts only if some scorer has a surprise for its trial, because many
    trials have no locked window.
    """
    trial_of = np.repeat(np.arange(len(board.trials)), np.diff(board.first_video))
    scored = {key: np.isfinite(rows.video_mean()) for key, rows in board.rows.items()}
    unreadable = np.isin(np.array(board.video_ids, object).astype(str), np.array(sorted(unread), str))
    found = {}
    for scorer in dict.fromkeys(scorer for _, scorer in board.rows):
        missing = unreadable.copy()
        for windows in board.windows():
            if (windows, scorer) not in scored:
                continue
            by_any = np.any([videos for (kind, _), videos in scored.items() if kind == windows], axis=0)
            trials = np.bincount(trial_of, by_any, len(board.trials)) > 0
            expected = trials[trial_of] if windows == "locked" else np.full(len(trial_of), True)
            missing |= expected & ~scored[windows, scorer]
        if missing.any():
            found[str(scorer)] = [board.video_ids[video] for video in np.flatnonzero(missing)]
    return found


def _notes(board: Scoreboard, evaluated: Sequence[ScorerId]) -> Iterator[str]:
    sliding = [it for it in evaluated if ("sliding", it) in board.rows]
    several = any(len(board.trace("sliding", it).contexts()) > 1 for it in sliding)
    if several and board.given_context_s is None and not board.strata(Cell(split="val")):
        yield (
            f"This suite has no val split to choose a context length on: sliding windows use the protocol's shortest, "
            f"{board.shortest_context_s:.3g} s. Give another, fixed in advance, with --contexts."
        )
    if board.windows() == ["sliding"]:
        yield "No context of these trials ends in full occlusion: the headline uses sliding windows, where copying can help."
    if "easy" in board.values_of("copy_class") or "hard" in board.values_of("copy_class"):
        lacking = [name for name in board.properties if not board.strata(Cell(name, copy_class=BALANCED))]
        if lacking:
            yield f"Without a balanced score, since easy or hard trials are missing: {', '.join(lacking)}."
    everywhere = {it for windows in board.windows() for it in board.scorers(windows)}
    missing = [it for it in evaluated if it in everywhere - {*board.scorers("locked")}]
    if "locked" in board.windows() and missing:
        yield f"Without a score in locked windows: {', '.join(map(str, missing))}."
