"""Results of a finished violation-of-expectation evaluation, in the folder that `eval voe` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.errors import EvalError
from eval.result_folder import check_unchanged, read_result, reading_results
from eval.voe.scorers import ScorerId, evaluated_scorers
from eval.voe.scores.score import score
from eval.voe.scores.scoreboard import Scoreboard
from eval.voe.surprise.traces import Traces
from eval.voe.trials import Trial, read_trials
from worldmodel.files.atomic import write_json

RESULT_FILES = ("protocol.json", "trials.json", "traces.parquet")  # all numbers of an evaluation are computed from these
SAME_WINDOWS = {
    "fps": ("--fps", "frames per second"),
    "window_s": ("--window", "length of sliding windows, s"),
    "stride_s": ("--stride", "stride of sliding windows, s"),
    "contexts_s": ("--contexts", "context lengths, s"),
    "horizon_s": ("--horizon", "forecast horizon, s"),
}
"""Fields that must be equal in evaluations that are compared: option and description."""


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation."""

    out: Path
    protocol: Mapping[str, Any]
    trials: Sequence[Trial]
    board: Scoreboard

    @property
    def scorers(self) -> list[ScorerId]:
        """The model's own scorers, without ablations of the whitening."""
        present = dict.fromkeys(scorer for _, scorer in self.board.rows)
        return [it for it in evaluated_scorers(present, self.protocol["model"]["spec"]) if not it.is_whitening_ablation]


def check_finished(out: Path) -> None:
    """Raise EvalError where a file of an evaluation is missing."""
    for name in RESULT_FILES:
        if not (out / name).exists():
            raise EvalError(
                f"{out} has no {name}: it is not a finished evaluation; `python -m eval voe ... --out {out}` makes one"
            )


def open_evaluation(out: Path) -> Evaluation:
    """Read an evaluation. Raises EvalError where a file is missing, damaged or changed."""
    check_finished(out)
    check_unchanged(out, RESULT_FILES)
    with reading_results(out, RESULT_FILES):
        protocol, trials = read_result(out / "protocol.json"), read_trials(out / "trials.json")
        return Evaluation(out, protocol, trials, Scoreboard(trials, Traces.open(out / "traces.parquet"), protocol))


def write_scores(out: Path) -> None:
    """Compute OUT/scores.json from the traces.

    Raises EvalError where OUT is no finished evaluation.
    """
    check_finished(out)
    check_unchanged(out, RESULT_FILES)
    with reading_results(out, RESULT_FILES):
        trials, traces = read_trials(out / "trials.json"), Traces.open(out / "traces.parquet")
        found = score(trials, traces, read_result(out / "protocol.json"))
    write_json(out / "scores.json", found)


def check_same_windows(first: Evaluation, other: Evaluation) -> None:
    """Raise EvalError where windows or geometry differ, with what differs and what to do."""
    for key, (option, words) in SAME_WINDOWS.items():
        a, b = (it.protocol["windows"][key] for it in (first, other))
        if not almost_equal(a, b):
            raise EvalError(
                f"{words}: {_number(a)} in {first.out}, {_number(b)} in {other.out}; their surprises are not comparable. "
                f"Evaluate again with the same {option} for both (in seconds, such as 0.5s)"
            )
    a, b = (it.protocol.get("geometry", "resize") for it in (first, other))
    if a != b:
        raise EvalError(
            f"frames were made square differently: {a} in {first.out}, {b} in {other.out}; the models did not see the same. "
            "Evaluate again with the same --geometry for both"
        )


def almost_equal(a: Any, b: Any) -> bool:
    """Whether two numbers, or two lists of numbers, are equal but for rounding."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(almost_equal(x, y) for x, y in zip(a, b, strict=True))
    return abs(a - b) < 1e-6


def _number(value: Any) -> str:
    return ", ".join(_number(it) for it in value) if isinstance(value, list) else f"{value:.4g}"
