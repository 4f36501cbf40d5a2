"""An interrupted run resumes with the same samples and the same losses as an uninterrupted one, bit for bit."""

import os
import signal
import time
from pathlib import Path

import pytest

TIMED = {"seconds", "samples_per_s", "data_wait_fraction"}


def course(rows: list[dict]) -> list[dict]:
    """Columns that must not change; those of speed may."""
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


@pytest.mark.parametrize(
    ("workers", "ranks"),
    [(0, 1), pytest.param(2, 1, marks=pytest.mark.slow), pytest.param(0, 2, marks=pytest.mark.slow)],
)
def test_a_run_that_is_killed_at_any_time_and_resumed_has_the_same_logs(
    trainer, read_rows, tmp_path: Path, workers: int, ranks: int
):
    more = [f"data.workers={workers}", "model.target={kind: ema}", "train.grad_accum_steps=2"]
    assert trainer(tmp_path / "whole", *more, ranks=ranks).returncode == 0
    for after in (3, 8, 15):  # before the first checkpoint, between two, late
        trainer.killed(tmp_path / "cut", *more, after=after, ranks=ranks)
    assert trainer(tmp_path / "cut", *more, ranks=ranks).returncode == 0
    whole, cut = (course(read_rows(tmp_path / name)) for name in ("whole", "cut"))
    assert [row["step"] for row in cut] == list(range(1, 21))
    assert cut == whole
    health = [read_rows(tmp_path / name, "health") for name in ("whole", "cut")]
    assert health[0] == health[1]


def test_the_number_of_workers_changes_nothing(trainer, read_rows, tmp_path: Path):
    for workers in (0, 2):
        assert trainer(tmp_path / str(workers), f"data.workers={workers}", "train.max_steps=6").returncode == 0
    assert course(read_rows(tmp_path / "0")) == course(read_rows(tmp_path / "2"))


def test_two_ranks_have_the_samples_and_the_loss_of_one_process(trainer, read_rows, tmp_path: Path):
    for ranks in (1, 2):
        assert trainer(tmp_path / str(ranks), "train.max_steps=6", ranks=ranks).returncode == 0
    for one, two in zip(read_rows(tmp_path / "1"), read_rows(tmp_path / "2"), strict=True):
        assert one["batch_hash"] == two["batch_hash"]
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)


@pytest.mark.slow
def test_a_sharded_run_has_the_same_losses_and_resumes_in_one_process(trainer, read_rows, tmp_path: Path):
    for name, ranks, parallel in (("one", 1, "ddp"), ("sharded", 2, "fsdp2")):
        assert trainer(tmp_path / name, "train.max_steps=10", f"train.parallel={parallel}", ranks=ranks).returncode == 0
    for one, two in zip(read_rows(tmp_path / "one"), read_rows(tmp_path / "sharded"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    go_on = ("train.max_steps=14", "train.parallel=ddp")
    for name in ("one", "sharded"):
        done = trainer(tmp_path / name, *go_on, flags=("--allow-changed-recipe",))
        assert done.returncode == 0, done.stderr
    for one, two in zip(read_rows(tmp_path / "one")[10:], read_rows(tmp_path / "sharded")[10:], strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)


def test_sigterm_saves_and_exits_cleanly(trainer, read_rows, tmp_path: Path):
    run = tmp_path / "run"
    process = trainer.start(run, "train.max_steps=5000", "checkpoint.every=5000", "data.workers=1")
    while len(read_rows(run)) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)  # schedulers signal the whole group, workers included
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "stopped" in out
    last = sorted(os.listdir(run / "checkpoints"))[-1]
    assert int(last) == read_rows(run)[-1]["step"]


def test_a_changed_recipe_is_refused_unless_the_flag_allows_it(trainer, tmp_path: Path):
    run = tmp_path / "run"
    assert trainer(run, "train.max_steps=5").returncode == 0
    refused = trainer(run, "train.max_steps=8", "optim.lr=0.5")
    assert refused.returncode == 2
    assert "optim.lr: 0.001 -> 0.5" in refused.stderr
    assert "train.max_steps: 5 -> 8" in refused.stderr
    assert trainer(run, "train.max_steps=8", flags=("--allow-changed-recipe",)).returncode == 0


def test_init_from_starts_a_new_run_with_the_weights_of_another(trainer, read_rows, tmp_path: Path):
    assert trainer(tmp_path / "a").returncode == 0
    done = trainer(tmp_path / "b", f"init_from={tmp_path / 'a'}", "train.max_steps=5")
    assert done.returncode == 0, done.stderr
    first, fresh = read_rows(tmp_path / "b")[0], read_rows(tmp_path / "a")[0]
    assert first["step"] == 1
    assert first["batch_hash"] == fresh["batch_hash"]
    assert first["loss/spread/std"] < 0.7 * fresh["loss/spread/std"]
