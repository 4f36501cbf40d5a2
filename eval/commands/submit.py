"""Write answers for benchmarks with secret labels, from a finished evaluation.

    python -m eval voe --model runs/demo --suite 'intphys:DIR?part=test' --contexts 4 --out OUT
    python -m eval submit OUT --to answer.txt                           # IntPhys test: how plausible each video is
    python -m eval submit OUT --to heldout.jsonl --threshold-from MAIN  # IntPhys 2 HeldOut: possible or not

The surprise of a video is the mean over sliding windows of the context length that the evaluation
was given. Of several context lengths it is the shortest, because without labels none can be chosen.
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

from eval.errors import EvalError
from eval.voe.evaluation import Evaluation, check_same_windows, open_evaluation
from eval.voe.scorers import ScorerId
from eval.voe.scores.diagnostics import best_threshold
from eval.voe.suites.intphys import JOIN, TASK
from worldmodel.files.atomic import write_text
from worldmodel.files.outputs import output_file
from worldmodel.process.terminal import print_escaped

HELP = "answers for benchmarks with secret labels: IntPhys test, IntPhys 2 HeldOut"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of a finished evaluation of videos with secret labels")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FILE", help="file of the answers; replaced if this command wrote it"
    )
    parser.add_argument("--scorer", metavar="NAME", help="whose surprise (default: whitened where it was computed)")
    parser.add_argument(
        "--threshold-from",
        type=Path,
        metavar="OUT",
        help="IntPhys 2: an evaluation of Main, by the same model and windows, from which the threshold is chosen "
        "(default: the half with less surprise is possible, as half of them are by design)",
    )


def run(args: argparse.Namespace) -> int:
    """Raises EvalError if the labels of OUT are public, or if a video has no surprise."""
    evaluation = open_evaluation(args.out)
    suite = evaluation.protocol["suite"]["name"]
    if any(video.label is not None for trial in evaluation.trials for video in trial.videos):
        raise EvalError(
            f"{args.out}: its labels are public, so its scores are in scores.json; answers are for suites with secret labels"
        )
    if suite not in ("intphys", "intphys2"):
        raise EvalError(f"{args.out} is of {suite}; answers are written for intphys (test) and intphys2 (HeldOut)")
    if suite == "intphys" and args.threshold_from:
        raise EvalError("answers of IntPhys test say how plausible each video is; --threshold-from is for IntPhys 2")
    scorer = choose_scorer(evaluation, args.scorer)
    surprise = video_surprise(evaluation, scorer)
    threshold = threshold_from(open_evaluation(args.threshold_from), evaluation, scorer) if args.threshold_from else None
    answers = intphys_answers(surprise) if suite == "intphys" else intphys2_answers(surprise, threshold)
    with output_file(args.to, "give another --to"):
        write_text(args.to, answers)
    cut = "" if threshold is None else f", videos of {threshold:.4g} and more being impossible"
    context_s = context_of(evaluation)
    print_escaped(f"{args.to}: {len(surprise)} answers by {scorer}, with a context of {context_s:.3g} s{cut}")
    return 0


def choose_scorer(evaluation: Evaluation, wanted: str | None) -> ScorerId:
    """The scorer of this name, else the model's first.

    Raises EvalError for one that has no sliding windows.
    """
    sliding = [scorer for windows, scorer in evaluation.board.rows if windows == "sliding"]
    mine = [scorer for scorer in evaluation.scorers if scorer in sliding]
    if wanted is None and mine:
        return mine[0]
    if wanted is None or wanted not in map(str, sliding):
        raise EvalError(f"{evaluation.out} has no scorer {wanted!r}; it has {', '.join(map(str, sliding))}")
    return ScorerId.parse(wanted)


def context_of(evaluation: Evaluation) -> float:
    """The context length in seconds: as given, else the protocol's shortest."""
    given: float | None = evaluation.protocol["chosen"]["context_s"]
    return min(evaluation.protocol["windows"]["contexts_s"]) if given is None else given


def video_surprise(evaluation: Evaluation, scorer: ScorerId) -> dict[str, float]:
    """Surprise by video id. Raises EvalError, with the reason, where a video has none."""
    rows, unread = evaluation.board.rows["sliding", scorer], evaluation.protocol["left_out"]
    context_s = min(rows.contexts(), key=lambda context: abs(context - context_of(evaluation)))
    surprise = dict(zip(evaluation.board.video_ids, rows.video_mean(context_s).tolist(), strict=True))
    if missing := [video for video, value in surprise.items() if not math.isfinite(value)]:
        why = unread.get(missing[0], f"{scorer} has no number for it")
        raise EvalError(f"{len(missing)} of {len(surprise)} videos have no answer, and each needs one; {missing[0]}: {why}")
    return surprise


def threshold_from(main: Evaluation, evaluation: Evaluation, scorer: ScorerId) -> float:
    """The surprise that separates possible from impossible videos of Main best.

    Raises EvalError where it was computed differently from that of the videos to be answered for.
    """
    origins = [(it.protocol["suite"]["name"], it.protocol["model"]["hash"]) for it in (main, evaluation)]
    if origins[0] != origins[1]:
        raise EvalError(f"{main.out} is of another suite or model than {evaluation.out}: its surprise is not on the same scale")
    check_same_windows(main, evaluation)
    if ("sliding", scorer) not in main.board.rows:
        raise EvalError(f"{main.out} has no scorer '{scorer}', which gives the answers of {evaluation.out}")
    rows = main.board.rows["sliding", scorer]
    surprise = rows.video_mean(min(rows.contexts(), key=lambda context: abs(context - context_of(evaluation))))
    labels: NDArray[Any] = np.array([video.label for trial in main.trials for video in trial.videos], object)
    known = np.isfinite(surprise) & (labels != None)  # noqa: E711  (elementwise)
    impossible = labels[known] == False  # noqa: E712  (elementwise)
    if not impossible.any() or impossible.all():
        raise EvalError(
            f"{main.out} needs both possible and impossible videos to choose a threshold; give an evaluation of Main"
        )
    return best_threshold(surprise[known], impossible)


def intphys_answers(surprise: Mapping[str, float]) -> str:
    """answer.txt of IntPhys: per video a line with its name and its plausibility, from 0 to 1.

    Plausibility falls linearly with surprise; the lowest surprise has 1, the highest 0. So order
    within and across scenes, and sums over the videos of a quadruplet, compare as surprise does.
    Raises EvalError for videos that are not of the test set, quadruplets that are incomplete, or
    numbers that are not finite.
    """
    _check_numbers(surprise)
    names = {video: video.replace(JOIN, "/") for video in surprise}
    if unknown := [video for video, name in names.items() if not TASK.fullmatch(name)]:
        raise EvalError(f"{unknown[0]}: not a video of IntPhys test; expected names like O1{JOIN}0001{JOIN}1")
    scenes: dict[str, int] = {}
    for name in names.values():
        scene = name.rpartition("/")[0]
        scenes[scene] = scenes.get(scene, 0) + 1
    if broken := [scene for scene, videos in scenes.items() if videos != 4]:
        raise EvalError(f"{broken[0]}: {scenes[broken[0]]} of its four videos have an answer; {len(broken)} such scenes in all")
    low, high = min(surprise.values()), max(surprise.values())
    spread = high - low

    def plausibility(value: float) -> float:
        return (high - value) / spread if spread > 0 else 0.5

    ordered = sorted(names.items(), key=lambda it: it[1])
    return "".join(f"{name} {plausibility(surprise[video]):.9f}\n" for video, name in ordered)


def intphys2_answers(surprise: Mapping[str, float], threshold: float | None = None) -> str:
    """jsonl of IntPhys 2 HeldOut: per video a line with 1 for possible or 0 for impossible.

    threshold: surprise from which on a video is classified as impossible, chosen on other videos
    (Main). Without one the half of the videos with less surprise is classified as possible, as half
    of them are by design; ties are broken by name. Raises EvalError for numbers that are not
    finite.
    """
    _check_numbers(surprise)
    ranked = sorted(surprise, key=lambda video: (surprise[video], video))
    possible = set(ranked[: len(ranked) // 2] if threshold is None else [it for it in ranked if surprise[it] < threshold])
    rows = (
        {"data_name": "intphys2", "task": "HeldOut", "row_id": video, "model_answer": int(video in possible)}
        for video in sorted(surprise)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def _check_numbers(surprise: Mapping[str, float]) -> None:
    if not surprise:
        raise EvalError("there is no video to answer for")
    if broken := [video for video, value in surprise.items() if not math.isfinite(value)]:
        raise EvalError(f"{broken[0]}: its surprise is {surprise[broken[0]]}; {len(broken)} videos have none")
