"""Comparison of evaluations: paired, on shared trials, or refused."""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eval.commands.compare import add_arguments, run
from eval.errors import EvalError
from eval.voe.evaluation import open_evaluation
from eval.voe.pairs import QUADRUPLET, SAME_CONTEXT, SAME_OUTCOME
from eval.voe.surprise.traces import TraceBlock, write_traces
from eval.voe.trials import Pair, Trial, Video, write_trials

PAIRS = tuple(Pair("same context", *p) for p in SAME_CONTEXT) + tuple(Pair("same outcome", *p) for p in SAME_OUTCOME)
PROTOCOL = {
    "format": 1,
    "model": {"name": "it", "spec": "runs/it", "target_scope": "past"},
    "suite": {"name": "builtin", "path": "mini", "hash": "abc"},
    "windows": {"fps": 12.0, "window_s": 1.0, "stride_s": 0.25, "contexts_s": [0.5], "horizon_s": 0.5, "scope": "window"},
    "chosen": {"context_s": None, "by": "val"},
}


def evaluation(
    out: Path,
    right: Callable[[str, int], bool | None],
    scorer: str = "latent distance",
    backwards: bool = False,
    **changes: dict | str,
) -> Path:
    """Eight trials of each of two properties, right or wrong by `right`; None: no score."""
    out.mkdir(parents=True)
    numbered = [(name, number) for name in ("permanence", "shape") for number in range(8)]
    trials, blocks = [], []
    for name, number in reversed(numbered) if backwards else numbered:
        group = f"{name}{number}"
        videos = tuple(Video(f"{group}-{c}{o}", "x.mp4", 12.0, 24, (c, o) in QUADRUPLET[:2], c, o) for c, o in QUADRUPLET)
        trials.append(Trial(group, videos, PAIRS, name, visibility="occluded", spliced=True, locked_cuts=(10, 12)))
        if (correct := right(name, number)) is not None:
            values = np.array([[float(video.label != correct)] for video in videos])
            blocks.append(TraceBlock([video.video_id for video in videos], scorer, "locked", 0.0, 0.5, np.array([0.5]), values))
    write_trials(out / "trials.json", trials)
    write_traces(out / "traces.parquet", blocks)
    protocol = copy.deepcopy(PROTOCOL)
    for key, change in changes.items():
        protocol[key] = {**protocol[key], **change} if isinstance(change, dict) else change  # type: ignore[dict-item]
    (out / "protocol.json").write_text(json.dumps(protocol))
    return out


def compared(*outs: Path) -> dict:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    to = outs[0].parent / "compared"
    assert run(parser.parse_args([*map(str, outs), "--out", str(to)])) == 0
    return json.loads((to / "compare.json").read_text(encoding="utf-8"))


def test_two_evaluations_by_hand(tmp_path, capsys):
    a = evaluation(tmp_path / "a", lambda name, number: name == "permanence")
    b = evaluation(tmp_path / "b", lambda name, number: True, backwards=True, model={"name": "other"})
    found = compared(a, b)
    assert found["names"] == ["it", "other"]
    (comparison,) = found["comparisons"]
    assert (comparison["windows"], comparison["scorer"], comparison["kind"]) == ("locked", "latent distance", "both")
    everything, permanence, shape = comparison["rows"]
    assert [entry["value"] for entry in everything["values"]] == [0.5, 1.0]
    assert everything["differences"][0]["value"] == 0.5
    assert everything["n"] == 16
    assert (permanence["differences"][0]["value"], permanence["differences"][0]["p"]) == (0.0, 1.0)
    # eight trials that all differ by one: 2 of 2^8 patterns are as far; twice that over two properties
    assert shape["differences"][0]["p"] == 2 / 256
    assert shape["differences"][0]["p_holm"] == 4 / 256
    assert (shape["differences"][0]["low"], shape["differences"][0]["high"]) == (1.0, 1.0)
    assert "distance, locked windows" in capsys.readouterr().out
    text = (tmp_path / "compared" / "compare.md").read_text(encoding="utf-8")
    assert "| shape | 8 | 0.0 [0.0, 0.0] | 100.0 [100.0, 100.0] | 100.0 [100.0, 100.0] | 0.0156 |" in text


def test_only_trials_that_all_have_a_score_of_count(tmp_path):
    a = evaluation(tmp_path / "a", lambda name, number: None if number == 0 else True)
    b = evaluation(tmp_path / "b", lambda name, number: None if number == 1 else number == 0)
    rows = compared(a, b)["comparisons"][0]["rows"]
    assert [row["n"] for row in rows] == [12, 6, 6]
    assert [entry["value"] for entry in rows[0]["values"]] == [
        1.0,
        0.0,
    ]  # b is right on number 0 alone, of which a has no score


def test_three_are_compared_in_pairs_and_equal_names_get_their_folder(tmp_path):
    outs = [evaluation(tmp_path / name, lambda name, number: True) for name in ("a", "b", "c")]
    found = compared(*outs)
    assert found["names"] == ["it (a)", "it (b)", "it (c)"]
    pairs = [(entry["a"], entry["b"]) for entry in found["comparisons"][0]["rows"][0]["differences"]]
    assert pairs == [("it (a)", "it (b)"), ("it (a)", "it (c)"), ("it (b)", "it (c)")]


def test_a_pixel_baseline_is_compared_with_a_model(tmp_path):
    a = evaluation(tmp_path / "a", lambda n, i: True, "pixel copy", model={"spec": "baseline:pixel copy", "name": "pixel copy"})
    b = evaluation(tmp_path / "b", lambda n, i: False, "latent distance")
    rows = compared(a, b)["comparisons"][0]["rows"]
    assert rows[0]["differences"][0]["value"] == -1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite": {"hash": "other"}}, "evaluate both on one suite"),
        ({"windows": {"stride_s": 0.5}}, "--stride"),
        ({"windows": {"contexts_s": [0.5, 0.75]}}, "--contexts"),
        ({"windows": {"horizon_s": 1.0}}, "--horizon"),
        ({"chosen": {"context_s": 0.5}}, "--contexts"),
        ({"model": {"target_scope": "window"}}, "--scope suffix"),
        ({"geometry": "center_crop"}, "--geometry"),
    ],
)
def test_evaluations_that_differ_are_refused_with_what_to_do(tmp_path, changes, message):
    a = evaluation(tmp_path / "a", lambda name, number: True)
    b = evaluation(tmp_path / "b", lambda name, number: True, **changes)
    with pytest.raises(EvalError, match=message):
        compared(a, b)


def test_a_model_whose_targets_see_the_suffix_alone_is_compared_with_one_that_sees_the_past(tmp_path):
    a = evaluation(tmp_path / "a", lambda name, number: True)
    b = evaluation(tmp_path / "b", lambda n, i: True, model={"target_scope": "window"}, windows={"scope": "suffix"})
    assert compared(a, b)["comparisons"]


def test_one_evaluation_or_none_is_an_error(tmp_path):
    a = evaluation(tmp_path / "a", lambda name, number: True)
    with pytest.raises(EvalError, match="two folders"):
        compared(a)
    with pytest.raises(EvalError, match=r"no protocol\.json"):
        open_evaluation(tmp_path)
    b = evaluation(tmp_path / "b", lambda name, number: True, "diagonal")
    with pytest.raises(EvalError, match="in common"):
        compared(a, b)
