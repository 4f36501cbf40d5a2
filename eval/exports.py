"""Answers for benchmarks that keep their labels to themselves, from surprise by film."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from eval.benchmarks.intphys import JOIN, TASK
from eval.errors import EvalError


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
