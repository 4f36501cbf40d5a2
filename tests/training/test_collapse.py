"""The loss cannot tell collapse; the doctor can."""

from pathlib import Path

import pytest


@pytest.mark.slow
def test_without_vicreg_the_loss_looks_excellent_and_the_doctor_says_collapse(trainer, read_rows, tmp_path: Path):
    often = ("health.every=50", "checkpoint.every=200", "health.stop_on=[complete_collapse]")
    fast = ("train.updates=200", "optim.lr=3e-3", "optim.warmup_updates=20")
    done = trainer(tmp_path / "run", "objectives={forecast: {kind: forecast}}", *fast, *often)
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path / "run")
    assert rows[-1]["loss"] < 0.02 * rows[0]["loss"] or rows[-1]["loss"] < 1e-4
    assert read_rows(tmp_path / "run", "health")[-1]["verdict"] == "complete_collapse"
    assert "complete_collapse" in done.stdout


@pytest.mark.slow
def test_with_vicreg_the_same_run_is_healthy(trainer, read_rows, tmp_path: Path):
    done = trainer(
        tmp_path / "run",
        "train.updates=400",
        "health.every=200",
        "checkpoint.every=400",
        "optim.lr=3e-3",
        "optim.warmup_updates=20",
    )
    assert done.returncode == 0, done.stderr
    assert read_rows(tmp_path / "run", "health")[-1]["verdict"] == "healthy"
