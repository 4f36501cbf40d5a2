"""Many checkpoints on the same pairs: correlations by hand, what is read of a checkpoint, and the command."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from data_prep.__main__ import main as data_prep
from eval.__main__ import main
from eval.planning.checkpoints import correlations, run
from eval.planning.checkpoints.correlations import correlate, partial_spearman, resampled, spearman
from eval.planning.checkpoints.numbers import health_numbers, losses
from eval.planning.models import NamedModel
from tests.support.made_action_model import PositionModel

SMALL = ["--samples", "12", "--elites", "3", "--iterations", "2", "--horizon", "6", "--executed", "6", "--budget", "12"]
GAINS = {100: -1.0, 200: 0.2, 300: 0.5, 400: 1.0}  # the later a checkpoint, the better it knows what actions do


def test_rank_correlations_by_hand():
    """Ranks 1 2 3 4 and 2 1 4 3: 1 - 6 * 4 / (4 * 15) = .6."""
    x, y = np.array([0.1, 2.0, 30.0, 400.0]), np.array([5.0, 4.0, 9.0, 7.0])
    assert spearman(x, y) == pytest.approx(0.6)
    assert spearman(x, -y) == pytest.approx(-0.6)
    assert np.isnan(spearman(x, np.ones(4)))
    assert spearman(np.array([1.0, 1.0, 2.0]), np.array([3.0, 3.0, 8.0])) == pytest.approx(1)  # ties


def test_what_follows_from_the_training_step_alone_is_seen():
    rng = np.random.default_rng(0)
    step = np.arange(60.0)
    success, other = step + rng.normal(0, 12, 60), step + rng.normal(0, 12, 60)
    assert spearman(other, success) > 0.5
    assert abs(partial_spearman(other, success, step)) < 0.25
    hidden = success - step
    assert partial_spearman(hidden, success, step) > 0.9


def test_intervals_are_over_runs_where_there_are_enough_of_them(monkeypatch):
    monkeypatch.setattr(correlations, "RESAMPLES", 50)
    few, many = np.repeat([0.0, 1.0], 6), np.repeat(np.arange(5.0), 3)
    assert any(len(set((rows // 6).tolist())) == 2 and len(set(rows.tolist())) < 12 for rows in resampled(few)[1:])
    for rows in resampled(many)[1:]:
        assert len(rows) == 15
        assert all(set(rows[at : at + 3].tolist()) == {rows[at], rows[at] + 1, rows[at] + 2} for at in (0, 3, 6, 9, 12))


def test_the_number_that_orders_checkpoints_as_success_does_comes_first(monkeypatch):
    monkeypatch.setattr(correlations, "RESAMPLES", 50)
    rng, success = np.random.default_rng(0), np.linspace(0, 1, 12)
    numbers = [{"good": float(np.exp(s)), "noise": float(rng.normal()), "constant": 1.0} for s in success]
    groups = {"noise": "loss", "constant": "health", "good": "offline", "absent": "offline"}
    found = correlate(numbers, groups, success, success, np.arange(12.0), np.zeros(12))
    assert [it["name"] for it in found] == ["good", "noise", "constant"]
    assert found[0]["success"] == {"value": pytest.approx(1), "low": pytest.approx(1), "high": pytest.approx(1)}
    assert found[2]["success"] is None


def test_numbers_of_a_checkpoint_are_those_of_its_step(tmp_path: Path):
    rows = [{"step": step, "loss": float(step), "loss/forecast/direct": 2.0 * step, "lr": 1.0} for step in range(1, 31)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    checks = [{"step": step, "verdict": "healthy", "skill": step / 100, "effective_rank": None} for step in (10, 20)]
    (tmp_path / "health.jsonl").write_text("".join(json.dumps(row) + "\n" for row in checks))
    assert losses(tmp_path, 20) == {"loss": 15.5, "loss/forecast/direct": 31.0}  # of steps 11 to 20
    assert health_numbers(tmp_path, 20) == {"skill": 0.2}
    assert health_numbers(tmp_path, 25) == losses(tmp_path / "nowhere", 20) == {}


@pytest.fixture
def checkpoints(monkeypatch, tmp_path):
    """Run the command with made checkpoints of one run."""
    folder = tmp_path / "episodes"
    arguments = ["--env", "TwoRooms-v0", "--episodes", "10", "--steps", "24", "--val", "0.3", "--test", "0.4"]
    assert data_prep(["collect", *arguments, "--workers", "1", "--out", str(folder)]) == 0
    found = [SimpleNamespace(folder=tmp_path / "run" / "checkpoints" / f"{step:08d}", step=step) for step in GAINS]
    monkeypatch.setattr(run, "all_checkpoints", lambda _: found)
    monkeypatch.setattr(correlations, "RESAMPLES", 20)

    def models(specs, device):
        steps = [int(Path(spec).name) for spec in specs]
        made = [PositionModel(gain=GAINS[step]) for step in steps]
        names = zip(specs, made, steps, strict=True)
        return [NamedModel(spec, it, f"{step:016d}", step, str(folder / "episodes.parquet")) for spec, it, step in names]

    monkeypatch.setattr(run, "open_models", models)
    arguments = ["plan", "--checkpoints", "all", "--model", "run", "--env", "TwoRooms-v0", *SMALL, "--seeds", "1"]
    return lambda *more: main([*arguments, "--goals", "later", "--goal-steps", "8", "--count", "6", *map(str, more)])


def test_better_checkpoints_succeed_more_and_their_use_of_actions_predicts_it(checkpoints, tmp_path, capfd):
    out = tmp_path / "out"
    assert checkpoints("--out", out) == 0
    found = json.loads((out / "checkpoints.json").read_text())
    value = {row["step"]: row["scores"]["moderate"]["value"] for row in found["checkpoints"]}
    assert value[400] > value[100]
    by_name = {it["name"]: it for it in found["correlations"]}
    assert by_name["training step"]["success"]["value"] > 0.5
    assert by_name["training step"]["beyond_step"] is None
    assert by_name["forecast error, 1 step, relative to copying"]["success"]["value"] < -0.5
    with open(out / "checkpoints.csv", encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["100", "200", "300", "400"]
    assert "| training step | training | 4 |" in (out / "checkpoints.md").read_text()
    page = (out / "report.html").read_text()
    assert 'src="http' not in page
    assert "Which number predicts success" in page
    assert not (out / "parts").exists()
    # one clear line each
    assert checkpoints("--out", tmp_path / "other", "--policies", "model") == 2
    assert "--policies is for single models" in capfd.readouterr().err


def test_too_few_checkpoints_are_refused(checkpoints, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(run, "all_checkpoints", lambda _: [])
    assert checkpoints("--out", tmp_path / "out") == 2
    assert "0 checkpoints; correlations need 4 or more" in capfd.readouterr().err
