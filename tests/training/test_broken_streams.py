"""Training continues without its reader or terminal, and its folder is complete."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worldmodel import checkpoint as checkpoints


@pytest.mark.parametrize("errors_too", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_training_piped_into_head_finishes(trainer, read_rows, tmp_path: Path, errors_too: bool):
    run = tmp_path / "run"
    command = trainer.command(run, "train.max_steps=10", "data.workers=1", "decoder.max_steps=5")
    error = subprocess.STDOUT if errors_too else subprocess.PIPE
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=error, text=True)
    for _ in range(3):
        process.stdout.readline()
    process.stdout.close()
    err = "" if errors_too else process.stderr.read()
    assert process.wait(120) == 0, err
    assert err == ""
    assert len(read_rows(run)) == 10
    last = checkpoints.latest_checkpoint(run)
    assert last is not None
    assert last.has("decoder")


@pytest.mark.slow
def test_training_without_standard_streams_finishes(trainer, read_rows, tmp_path: Path):
    run = tmp_path / "run"

    def closed() -> None:
        for number in (0, 1, 2):
            os.close(number)

    assert subprocess.Popen(trainer.command(run, "train.max_steps=10", "data.workers=2"), preexec_fn=closed).wait(120) == 0
    assert len(read_rows(run)) == 10


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_training_under_nohup_outlives_its_terminal(trainer, read_rows, tmp_path: Path):
    run = tmp_path / "run"
    master, slave = os.openpty()

    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    command = trainer.command(run, "train.max_steps=10", "data.workers=1")
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=nohup, start_new_session=True)
    os.close(slave)
    os.read(master, 10)
    os.close(master)
    assert process.wait(120) == 0
    assert len(read_rows(run)) == 10


@pytest.mark.slow
def test_a_report_without_a_reader_is_written(train_once, tmp_path: Path):
    run = train_once(tmp_path)
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "eval", "report", str(run)]
    assert subprocess.run(command, stdout=writes, stderr=writes, timeout=120).returncode == 0
    os.close(writes)
    assert list(run.glob("*.html"))
