"""Answers for secret labels, line by line."""

from __future__ import annotations

import json
import math

import pytest

from eval.commands.submit import intphys2_answers, intphys_answers
from eval.errors import EvalError

LONG = "O2__0017_O2_test_occluded_dynamic_1_nobj2"


def test_answers_of_intphys_by_hand():
    surprise = {"O1__0001__2": 2.0, "O1__0001__1": 1.0, "O1__0001__3": 5.0, "O1__0001__4": 4.0}
    assert intphys_answers(surprise).splitlines() == [
        "O1/0001/1 1.000000000",
        "O1/0001/2 0.750000000",
        "O1/0001/3 0.000000000",
        "O1/0001/4 0.250000000",
    ]


def test_answers_have_the_long_names():
    lines = intphys_answers({f"{LONG}__{video}": float(video) for video in range(1, 5)}).splitlines()
    assert lines[0] == "O2/0017_O2_test_occluded_dynamic_1_nobj2/1 1.000000000"


def test_sums_over_a_quadruplet_compare_as_surprise_does():
    surprise = {f"O{block}__0001__{video}": 3.1 * block + 0.7 * video * video for block in (1, 2) for video in (1, 2, 3, 4)}
    plausible = {name: float(score) for name, score in (line.split() for line in intphys_answers(surprise).splitlines())}

    def gap(of, join):
        return (
            of[join.join(("O1", "0001", "1"))]
            + of[join.join(("O1", "0001", "4"))]
            - of[join.join(("O1", "0001", "2"))]
            - of[join.join(("O1", "0001", "3"))]
        )

    spread = max(surprise.values()) - min(surprise.values())
    assert gap(plausible, "/") == pytest.approx(-gap(surprise, "__") / spread, abs=1e-8)


def test_equal_surprise_gives_one_half():
    assert {line.split()[1] for line in intphys_answers({f"O1__0001__{n}": 7.0 for n in (1, 2, 3, 4)}).splitlines()} == {
        "0.500000000"
    }


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_video_without_a_number_is_an_error(value):
    surprise = {f"O1__0001__{n}": 1.0 for n in (1, 2, 3)} | {"O1__0001__4": value}
    for export in (intphys_answers, intphys2_answers):
        with pytest.raises(EvalError, match="O1__0001__4"):
            export(surprise)
        with pytest.raises(EvalError, match="no video"):
            export({})


def test_every_video_of_a_scene_needs_an_answer():
    with pytest.raises(EvalError, match="O1/0001: 3 of its four videos"):
        intphys_answers({f"O1__0001__{n}": 1.0 for n in (1, 2, 3)})


def test_videos_of_dev_are_refused():
    with pytest.raises(EvalError, match="O1__01__1: not a video of IntPhys test"):
        intphys_answers({f"O1__01__{n}": 1.0 for n in (1, 2, 3, 4)})


def test_answers_of_held_out_by_hand():
    rows = [json.loads(line) for line in intphys2_answers({"d": 1.0, "a": 9.0, "c": 2.0, "b": 8.0}).splitlines()]
    assert [(row["row_id"], row["model_answer"]) for row in rows] == [("a", 0), ("b", 0), ("c", 1), ("d", 1)]
    assert {(row["data_name"], row["task"]) for row in rows} == {("intphys2", "HeldOut")}
    assert set(rows[0]) == {"data_name", "task", "row_id", "model_answer"}


def test_half_of_held_out_is_possible_when_all_tie():
    rows = [json.loads(line) for line in intphys2_answers(dict.fromkeys("fedcba", 1.0)).splitlines()]
    assert [row["model_answer"] for row in rows] == [1, 1, 1, 0, 0, 0]


def test_a_given_threshold_is_used():
    rows = [json.loads(line) for line in intphys2_answers({"a": 1.0, "b": 2.0, "c": 3.0}, threshold=2.0).splitlines()]
    assert [row["model_answer"] for row in rows] == [1, 0, 0]
