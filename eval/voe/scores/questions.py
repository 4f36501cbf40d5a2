"""Scores by question: what went in (identity), or how it moved (dynamics)."""

from __future__ import annotations

from typing import TypedDict

from eval.intervals import bootstrap_mean
from eval.voe.scorers import ScorerId, baselines_of
from eval.voe.scores.scoreboard import Cell, Scoreboard, in_strata, mean_over_strata

IDENTITY = ("permanence", "shape", "colour", "size", "number", "identity")
DYNAMICS = ("direction", "acceleration", "crossing", "impact", "delay", "queue", "pace", "spin")
QUESTIONS = {"what went in": IDENTITY, "how it moved": DYNAMICS}
"""Name and properties. How it moved: the contexts hold the same frames in another order."""


class QuestionScore(TypedDict):
    """The mean over the properties of a question, with its 95 % interval over trials."""

    value: float
    low: float
    high: float
    n: int  # trials
    properties: list[str]
    baselines: dict[str, float]  # by forecaster, on the same trials


def properties_by_question(properties: list[str]) -> dict[str, list[str]]:
    """The properties of each question, where there are two or more."""
    found = {question: [name for name in properties if name in wanted] for question, wanted in QUESTIONS.items()}
    return {question: names for question, names in found.items() if len(names) > 1}


def question_scores(board: Scoreboard, windows: str, scorer: ScorerId, min_trials: int) -> dict[str, QuestionScore]:
    """The score of each question on split test, on occluded trials if there are any. None with fewer trials."""
    visibility = "occluded" if "occluded" in board.values_of("visibility") else "all"
    strata = {name: some[0] for name in board.properties if (some := board.strata(Cell(name, visibility)))}
    mine = board.scores(windows, scorer, board.main_kind)
    found: dict[str, QuestionScore] = {}
    for question, names in properties_by_question(list(strata)).items():
        wanted = [strata[name] for name in names]
        scores = in_strata(mine, wanted)
        if sum(map(len, scores)) < min_trials:
            continue
        value, low, high = bootstrap_mean(scores)
        theirs = {
            it.forecaster_name: in_strata(board.scores(windows, it, board.main_kind), wanted)
            for it in baselines_of(scorer, board.scorers(windows))
        }
        found[question] = {
            "value": value,
            "low": max(low, 0.0),
            "high": min(high, 1.0),
            "n": sum(map(len, scores)),
            "properties": names,
            "baselines": {name: mean_over_strata(values) for name, values in theirs.items() if values},
        }
    return found
