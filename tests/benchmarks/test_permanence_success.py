"""Results of `eval plan` are used again for the same checkpoint and arguments alone."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import permanence_success
from worldmodel.files.atomic import write_json


def test_results_of_other_arguments_or_weights_are_not_used_again(tmp_path: Path, monkeypatch) -> None:
    folder, calls = tmp_path / "run" / "checkpoints" / "00000500", []
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("first weights")
    score = {"value": 0.5, "low": 0.4, "high": 0.6}

    def plan(arguments: list[str]) -> int:
        calls.append(arguments)
        out = Path(arguments[arguments.index("--out") + 1])
        out.mkdir(parents=True, exist_ok=True)
        policies = {name: {"scores": {"moderate": score}} for name in permanence_success.LABELS}
        permanence = {frames: {"accuracy": score, "effect": score} for frames in ("8", "1")}
        found = {"criteria": [{"name": "moderate"}], "policies": policies, "offline": {"permanence": permanence}}
        write_json(out / "plan.json", found)
        return 0

    def evaluations(count: int = 10, seeds: int = 1) -> int:
        assert permanence_success._row(folder, Namespace(out=tmp_path / "out", count=count, seeds=seeds))["step"] == 500
        return len(calls)

    monkeypatch.setattr(permanence_success, "eval_main", plan)
    assert [evaluations(), evaluations()] == [1, 1]
    assert evaluations(count=20) == 2
    assert evaluations(count=20, seeds=3) == 3
    (folder / "state.json").write_text("other weights")
    assert evaluations(count=20, seeds=3) == 4
    monkeypatch.setattr(permanence_success, "PLANNER", ("--planner", "cem"))
    assert [evaluations(count=20, seeds=3), evaluations(count=20, seeds=3)] == [5, 5]


def test_a_score_that_is_the_same_at_all_checkpoints_has_no_rank_correlation():
    rows = [
        {key: {"model": {"value": value}} for key, value in (("success", success), ("permanence", 1.0), ("effect", effect))}
        for success, effect in ((0.0, 0.1), (0.5, 0.2), (0.9, 0.4))
    ]
    assert permanence_success.rank_correlation(rows) == {"permanence": None, "effect": pytest.approx(1.0)}
