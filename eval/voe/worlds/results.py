"""Scores of one model in several worlds, from finished evaluations.

A row is a property of a suite, the mean of the suite, or the mean of the properties that ask what
went in (identity) or how it moved (dynamics). Held-out looks (split ood) are a world of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.errors import EvalError
from eval.intervals import bootstrap_mean
from eval.voe.evaluation import Evaluation, open_evaluation
from eval.voe.scorers import ScorerId, baselines_of, evaluated_scorers
from eval.voe.scores.diagnostics import BASELINES
from eval.voe.scores.questions import properties_by_question
from eval.voe.scores.scoreboard import Cell, Scoreboard, Values, in_strata, mean_over_strata

CHANCE = 0.5
MEAN = "mean"
SPLITS = {"test": "", "ood": "unseen looks"}
"""Splits that are worlds, and what is added to the name of the suite."""


@dataclass(frozen=True)
class Row:
    """The score of a property, or the mean over several, as fractions from 0 to 1."""

    name: str
    n: int  # trials
    value: float
    low: float  # of the 95 % interval over trials
    high: float
    baselines: Mapping[str, float]  # by forecaster, on the same trials


@dataclass(frozen=True)
class World:
    """The rows of one suite, or of its videos with held-out looks."""

    name: str
    out: str  # folder of the evaluation
    windows: str  # locked or sliding
    rows: Mapping[str, Sequence[Row]]  # by scorer


@dataclass(frozen=True)
class WorldsTable:
    """One model in several worlds."""

    model: Mapping[str, Any]  # name, spec, hash, step
    worlds: Sequence[World]

    def scorers(self) -> list[str]:
        """The scorers that all worlds have."""
        return [name for name in self.worlds[0].rows if all(name in world.rows for world in self.worlds)]


def collect(outs: Sequence[Path]) -> WorldsTable:
    """Read finished evaluations of one model. Raises EvalError for another model, or without any score."""
    evaluations = [open_evaluation(out) for out in outs]
    first = evaluations[0]
    for other in evaluations[1:]:
        if first.protocol["model"]["hash"] != other.protocol["model"]["hash"]:
            raise EvalError(
                f"{first.out} is of {_model(first)}, {other.out} of {_model(other)}; this table shows one model. "
                "`python -m eval compare` compares models on one suite"
            )
    worlds = [world for it in evaluations for world in _worlds(it)]
    if not worlds:
        raise EvalError("no score in these evaluations: their labels are secret, or no trial has a window")
    names = [world.name for world in worlds]
    worlds = [
        World(f"{it.name} ({Path(it.out).name})" if names.count(it.name) > 1 else it.name, it.out, it.windows, it.rows)
        for it in worlds
    ]
    found = WorldsTable({name: first.protocol["model"][name] for name in ("name", "spec", "hash", "step")}, worlds)
    if not found.scorers():
        raise EvalError(
            "these evaluations have no scorer in common: "
            + "; ".join(f"{it.out}: {', '.join(map(str, it.scorers)) or 'none'}" for it in evaluations)
        )
    return found


def _model(evaluation: Evaluation) -> str:
    model = evaluation.protocol["model"]
    return f"{model['name']} (weights {model['hash'][:8]})"


def _worlds(evaluation: Evaluation) -> list[World]:
    board, suite = evaluation.board, evaluation.protocol["suite"]
    if not board.pairs:
        return []
    windows = "locked" if "locked" in board.windows() else "sliding"
    present = dict.fromkeys(scorer for kind, scorer in board.rows if kind == windows)
    spec = evaluation.protocol["model"]["spec"]
    scorers = [it for it in evaluated_scorers(present, spec) if it in present]  # a baseline may lack this kind of window
    # evaluations of earlier versions do not say which world their suite shows
    title = suite.get("title") or (suite["name"] if suite["name"] != "builtin" else Path(suite["path"]).name)
    found = []
    for split, added in SPLITS.items():
        rows = {str(it): rows for it in scorers if not it.is_whitening_ablation and (rows := _rows(board, windows, it, split))}
        if rows:
            found.append(World(", ".join(filter(None, (title, added))), str(evaluation.out), windows, rows))
    return found


def _rows(board: Scoreboard, windows: str, scorer: ScorerId, split: str) -> list[Row]:
    """The mean, the means by question, and every property."""
    visibility = "occluded" if "occluded" in board.values_of("visibility", split) else "all"
    strata = {name: found[0] for name in board.properties if (found := board.strata(Cell(name, visibility, split=split)))}
    others = {it.forecaster_name: it for it in baselines_of(scorer, board.scorers(windows))}
    others |= {it.forecaster_name: it for it in BASELINES if it in board.scorers(windows) and it != scorer}
    wanted = {MEAN: list(strata)}
    wanted |= properties_by_question(list(strata))
    wanted |= {name: [name] for name in strata}
    mine = board.scores(windows, scorer, board.main_kind)
    theirs = {name: board.scores(windows, it, board.main_kind) for name, it in others.items()}
    rows = [_row(name, [strata[each] for each in names], mine, theirs) for name, names in wanted.items()]
    return [row for row in rows if row is not None]


def _row(name: str, strata: Sequence[Any], mine: Values, theirs: Mapping[str, Values]) -> Row | None:
    scores = in_strata(mine, strata)
    if not scores:
        return None
    value, low, high = bootstrap_mean(scores)
    baselines = {other: mean_over_strata(found) for other, values in theirs.items() if (found := in_strata(values, strata))}
    return Row(name, sum(map(len, scores)), value, max(low, 0.0), min(high, 1.0), baselines)
