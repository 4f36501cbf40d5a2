"""A run folder belongs to one training process, and to the data of the run."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from worldmodel.checkpoint import write_state
from worldmodel.manifest import Clip, Manifest, write_manifest

LONG = ("train.max_steps=100000", "checkpoint.every=5", "health.every=5", "checkpoint.keep=2")


def wait_for(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the expected state was not reached in time"
        time.sleep(0.02)


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def clips_of(manifest: Path) -> list[Clip]:
    opened = Manifest.open(manifest)
    return [opened.clip(row) for row in range(len(opened))]


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_second_training_in_the_folder_is_refused_and_the_first_continues(trainer, read_rows, tmp_path: Path, ranks: int):
    run = tmp_path / "run"
    first = trainer.start(run, *LONG)
    wait_for(lambda: len(read_rows(run)) > 3, first)
    second = trainer(run, *LONG, "seed=1", ranks=ranks)
    assert second.returncode != 0
    reported = [line for line in lines(second.stderr) if "FolderLockError: " in line and "is in use by process" in line]
    assert len(reported) >= 1
    assert f"kill {first.pid}" in reported[0]
    assert "another run=FOLDER" in reported[0]
    if ranks == 1:
        assert (second.returncode, lines(second.stderr)) == (2, reported)
    os.killpg(first.pid, signal.SIGTERM)
    assert first.wait(60) == 0
    logged_steps = [row["step"] for row in read_rows(run)]
    assert logged_steps == list(range(1, len(logged_steps) + 1))
    assert not (run / ".lock").exists()


def test_a_killed_run_restarts_at_once_and_a_stopped_one_leaves_no_lock(trainer, read_rows, tmp_path: Path):
    run = tmp_path / "run"
    trainer.killed(run, *LONG, after=7)
    assert (run / ".lock").exists()
    again = trainer.start(run, *LONG)
    wait_for(lambda: len(read_rows(run)) > 20, again)
    os.killpg(again.pid, signal.SIGTERM)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0
    assert "resuming" in out
    assert "taking over the lock of process" in err
    assert not (run / ".lock").exists()


def test_a_run_stopped_before_its_first_step_leaves_neither_lock_nor_folder(trainer, tmp_path: Path):
    process = trainer.start(tmp_path / "runs" / "run")
    wait_for((tmp_path / "runs" / "run" / ".lock").exists, process)
    process.terminate()
    process.communicate(timeout=60)
    assert not (tmp_path / "runs" / "run" / ".lock").exists()


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_whose_folder_is_removed_ends_and_does_not_create_it_again(trainer, read_rows, tmp_path: Path, ranks: int):
    run = tmp_path / "run"
    process = trainer.start(run, *LONG, ranks=ranks)
    wait_for(lambda: len(read_rows(run)) > 12, process)
    run.rename(tmp_path / "moved")  # at once; removing a folder that is written to may need several attempts
    shutil.rmtree(tmp_path / "moved")
    _, err = process.communicate(timeout=90)
    reported = [line for line in lines(err) if "FolderLockError: " in line]
    assert len(reported) == ranks  # the other rank reports why the first ended
    assert "was removed or moved" in reported[0]
    if ranks == 1:
        assert (process.returncode, lines(err)) == (2, reported)
    assert process.returncode != 0
    assert not run.exists()


def test_files_that_training_did_not_write_are_not_overwritten(trainer, tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 7, "loss": 1}\n')
    done = trainer(run)
    assert done.returncode == 2
    (line,) = lines(done.stderr)
    assert "metrics.jsonl would be overwritten" in line
    assert [path.name for path in run.iterdir()] == ["metrics.jsonl"]


@pytest.fixture(scope="module")
def finished(videos: Path, tmp_path_factory: pytest.TempPathFactory, train_once) -> Path:
    return train_once(tmp_path_factory.mktemp("finished"), "train.max_steps=5")


def test_other_data_with_the_same_number_of_windows_are_refused(trainer, finished: Path, videos: Path, tmp_path: Path):
    shutil.copytree(finished, tmp_path / "run")
    clips = [dataclasses.replace(clip, clip_id=f"{number:016x}") for number, clip in enumerate(clips_of(videos), 1000)]
    write_manifest(tmp_path / "other.parquet", clips, command="test", config={})
    done = trainer(tmp_path / "run", "train.max_steps=5", f"data.manifest={tmp_path / 'other.parquet'}")
    assert done.returncode == 2
    (line,) = lines(done.stderr)
    assert "other.parquet are not those that the run began with" in line
    assert "--allow-changed-recipe" in line


def test_an_equal_manifest_that_was_moved_and_rewritten_is_accepted(trainer, finished: Path, videos: Path, tmp_path: Path):
    shutil.copytree(finished, tmp_path / "run")
    write_manifest(tmp_path / "again.parquet", clips_of(videos), command="another", config={"by": "hand"})
    done = trainer(tmp_path / "run", "train.max_steps=5", f"data.manifest={tmp_path / 'again.parquet'}")
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stdout


def test_a_checkpoint_without_digests_of_its_data_resumes_with_a_warning(trainer, finished: Path, tmp_path: Path):
    shutil.copytree(finished, tmp_path / "run")
    (file,) = (tmp_path / "run").glob("checkpoints/*/state.json")
    state = json.loads(file.read_text())
    assert len(state.pop("data")) == 1
    write_state(file.parent, state)
    done = trainer(tmp_path / "run", "train.max_steps=5")
    assert done.returncode == 0, done.stderr
    assert "cannot be checked whether the data are those" in done.stdout
