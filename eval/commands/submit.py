"""Answers for benchmarks that keep their labels to themselves, from the surprise by film of a finished evaluation.

    python -m eval physics --model runs/demo --suite 'intphys:DIR?part=test' --contexts 4 --out OUT
    python -m eval export OUT --to answer.txt                           # IntPhys test: how plausible each film is
    python -m eval export OUT --to heldout.jsonl --threshold-from MAIN  # IntPhys 2 HeldOut: possible or not

A film's surprise is the mean over sliding windows of the context length that the evaluation was given; of several, since
without labels none can be chosen, the shortest.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.commands.compare import Evaluation, check_windows, open_evaluation
from eval.errors import EvalError
from eval.voe.scores.diagnostics import best_threshold
from eval.voe.suites.intphys import JOIN, TASK
from worldmodel.files.atomic import write_text
from worldmodel.files.outputs import output_file
from worldmodel.process.terminal import say

HELP = "answers for benchmarks whose labels are secret: IntPhys test, IntPhys 2 HeldOut"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of a finished evaluation of films with secret labels")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FILE", help="for the answers; replaced if it is this command's"
    )
    parser.add_argument("--scorer", metavar="NAME", help="whose surprise (default: whitened where there is that)")
    parser.add_argument(
        "--threshold-from",
        type=Path,
        metavar="OUT",
        help="IntPhys 2: an evaluation of Main, by the same model and windows, to take the threshold of possible films from "
        "(default: the less surprising half is possible, as half of them are by design)",
    )


def run(args: argparse.Namespace) -> int:
    """Raises EvalError where OUT holds nothing to answer for, or not for all films."""
    evaluation = open_evaluation(args.out)
    suite = evaluation.protocol["suite"]["name"]
    if any(film.label is not None for trial in evaluation.trials for film in trial.films):
        raise EvalError(f"{args.out}: the labels of {suite} are known here, and its numbers are in scores.json")
    if suite not in ("intphys", "intphys2"):
        raise EvalError(f"{args.out} is of {suite}; answers are written for intphys (test) and intphys2 (HeldOut)")
    if suite == "intphys" and args.threshold_from:
        raise EvalError("answers of IntPhys test say how plausible each film is; --threshold-from is for IntPhys 2")
    scorer = chosen_scorer(evaluation, args.scorer)
    surprise = film_surprise(evaluation, scorer)
    threshold = threshold_of(open_evaluation(args.threshold_from), evaluation, scorer) if args.threshold_from else None
    answers = intphys_answers(surprise) if suite == "intphys" else intphys2_answers(surprise, threshold)
    with output_file(args.to, "give another --to"):
        write_text(args.to, answers)
    cut = "" if threshold is None else f", films of {threshold:.4g} and more being impossible"
    say(f"{args.to}: {len(surprise)} answers by {scorer}, {context_of(evaluation):.3g} s seen of each window{cut}")
    return 0


def chosen_scorer(evaluation: Evaluation, wanted: str | None) -> str:
    """As asked, else the model's first. Raises EvalError for one that judged no film."""
    there = [name for windows, name in evaluation.board.rows if windows == "free"]
    mine = [name for name in evaluation.scorers if name in there]
    if wanted is None and mine:
        return mine[0]
    if wanted not in there:
        raise EvalError(f"{evaluation.out} has no scorer {wanted!r}; it has {', '.join(there)}")
    return wanted


def context_of(evaluation: Evaluation) -> float:
    """Seconds seen of each window: as given, else the protocol's shortest."""
    given: float | None = evaluation.protocol["chosen"]["context_s"]
    return min(evaluation.protocol["windows"]["contexts_s"]) if given is None else given


def film_surprise(evaluation: Evaluation, scorer: str) -> dict[str, float]:
    """By film id. Raises EvalError, with the reason, where a film could not be judged."""
    rows, unread = evaluation.board.rows["free", scorer], evaluation.protocol["left_out"]
    context_s = min(rows.contexts(), key=lambda context: abs(context - context_of(evaluation)))
    surprise = dict(zip(evaluation.board.film_ids, rows.film_mean(context_s).tolist(), strict=True))
    if missing := [film for film, value in surprise.items() if not math.isfinite(value)]:
        why = unread.get(missing[0], f"{scorer} did not judge it")
        raise EvalError(f"{len(missing)} of {len(surprise)} films have no answer, and each needs one; {missing[0]}: {why}")
    return surprise


def threshold_of(main: Evaluation, evaluation: Evaluation, scorer: str) -> float:
    """The surprise that tells possible films of Main best from impossible ones. Raises EvalError where it was measured
    otherwise than the films to be answered for."""
    said = [(it.protocol["suite"]["name"], it.protocol["model"]["hash"]) for it in (main, evaluation)]
    if said[0] != said[1]:
        raise EvalError(f"{main.out} is of another suite or model than {evaluation.out}: its surprise is not on the same scale")
    check_windows(main, evaluation)
    if ("free", scorer) not in main.board.rows:
        raise EvalError(f"{main.out} has no scorer {scorer!r}, by which {evaluation.out} is answered")
    rows = main.board.rows["free", scorer]
    surprise = rows.film_mean(min(rows.contexts(), key=lambda context: abs(context - context_of(evaluation))))
    labels: NDArray[Any] = np.array([film.label for trial in main.trials for film in trial.films], object)
    known = np.isfinite(surprise) & (labels != None)  # noqa: E711  (elementwise)
    impossible = labels[known] == False  # noqa: E712  (elementwise)
    if not impossible.any() or impossible.all():
        raise EvalError(f"{main.out} has not both possible and impossible films, so no threshold; give an evaluation of Main")
    return best_threshold(surprise[known], impossible)


def intphys_answers(surprise: Mapping[str, float]) -> str:
    """answer.txt of IntPhys: a line a film, its name and how plausible it is, in [0, 1].

    Plausibility falls linearly with surprise, the least surprising film has 1, the most surprising 0: order within and
    across scenes, and sums over a quadruplet's films, compare as surprise does. Raises EvalError for films that are not of
    the test set, quadruplets that are not whole, or numbers that are none.
    """
    _check_numbers(surprise)
    names = {film: film.replace(JOIN, "/") for film in surprise}
    if strange := [film for film, name in names.items() if not TASK.fullmatch(name)]:
        raise EvalError(f"{strange[0]}: no film of IntPhys test; expected names like O1{JOIN}0001{JOIN}1")
    scenes: dict[str, int] = {}
    for name in names.values():
        scene = name.rpartition("/")[0]
        scenes[scene] = scenes.get(scene, 0) + 1
    if broken := [scene for scene, films in scenes.items() if films != 4]:
        raise EvalError(f"{broken[0]}: {scenes[broken[0]]} of its four films have an answer; {len(broken)} such scenes in all")
    low, high = min(surprise.values()), max(surprise.values())
    spread = high - low

    def plausibility(value: float) -> float:
        return (high - value) / spread if spread > 0 else 0.5

    return "".join(f"{name} {plausibility(surprise[film]):.9f}\n" for film, name in sorted(names.items(), key=lambda it: it[1]))


def intphys2_answers(surprise: Mapping[str, float], threshold: float | None = None) -> str:
    """jsonl of IntPhys 2 HeldOut: a line a film, 1 where it is taken for possible, 0 where not.

    threshold: surprise from which on a film is taken for impossible, chosen on other films (Main). Without one half of the
    films, the less surprising, are taken for possible, as half of them are by design; equal surprises go in the order of
    names. Raises EvalError for numbers that are none.
    """
    _check_numbers(surprise)
    ranked = sorted(surprise, key=lambda film: (surprise[film], film))
    possible = set(ranked[: len(ranked) // 2] if threshold is None else [film for film in ranked if surprise[film] < threshold])
    rows = (
        {"data_name": "intphys2", "task": "HeldOut", "row_id": film, "model_answer": int(film in possible)}
        for film in sorted(surprise)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def _check_numbers(surprise: Mapping[str, float]) -> None:
    if not surprise:
        raise EvalError("there is no film to answer for")
    if broken := [film for film, value in surprise.items() if not math.isfinite(value)]:
        raise EvalError(f"{broken[0]}: its surprise is {surprise[broken[0]]}; {len(broken)} films have none")
