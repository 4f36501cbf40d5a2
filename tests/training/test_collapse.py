"""The loss does not show collapse; the health check does."""

from pathlib import Path

import pytest

FAST = ("train.max_steps=200", "data.batch_size=16", "optim.lr=3e-3", "optim.warmup_steps=20")
OFTEN = ("health.every=50", "health.windows=48", "checkpoint.every=200")


@pytest.mark.slow
def test_without_vicreg_the_loss_looks_excellent_and_the_verdict_is_collapse(
    trainer, many_videos: Path, read_rows, tmp_path: Path
):
    alone = ("objectives={forecast: {kind: forecast}}", "health.stop_on=[complete_collapse]")
    done = trainer(tmp_path / "run", f"data.manifest={many_videos}", *FAST, *OFTEN, *alone)
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path / "run")
    assert rows[-1]["loss"] < 1e-3
    assert read_rows(tmp_path / "run", "health")[-1]["verdict"] == "complete_collapse"
    assert "complete_collapse" in done.stdout


@pytest.mark.slow
def test_with_vicreg_the_same_run_is_healthy_and_its_loss_looks_worse(trainer, many_videos: Path, read_rows, tmp_path: Path):
    done = trainer(tmp_path / "run", f"data.manifest={many_videos}", *FAST, *OFTEN)
    assert done.returncode == 0, done.stderr
    last = read_rows(tmp_path / "run", "health")[-1]
    assert last["verdict"] == "healthy"
    assert last["skill"] > 0.05
    assert read_rows(tmp_path / "run")[-1]["loss"] > 0.1
