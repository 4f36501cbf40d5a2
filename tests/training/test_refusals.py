"""Bad input ends a run with one clear line, an exit code, and nothing lost."""

import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest


def only_line(done) -> str:
    lines = [line for line in done.stderr.strip().split("\n") if line]
    assert done.returncode == 2
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.manifest=nowhere.parquet", "nowhere.parquet: no such manifest"),
        ("data.batch_sise=3", "did you mean batch_size"),
        ("data.batch_size=512", "fewer than one batch of 512"),
        ("window.frames=40", "none of its 24 train clips holds one window of 40 frames"),
        ("processes=2", "recipe names processes: 2, but 1 run"),
        ("init_from=nowhere", "neither a run folder nor a checkpoint"),
    ],
)
def test_a_setting_that_cannot_work_is_reported_in_one_line_before_any_work(
    trainer, tmp_path: Path, override: str, message: str
):
    done = trainer(tmp_path / "run", override)
    assert message in only_line(done)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_files_that_are_gone_end_the_run_and_are_named(trainer, videos: Path, tmp_path: Path):
    shutil.copytree(videos.parent, tmp_path / "gone")
    for file in (tmp_path / "gone").glob("*.mp4"):
        file.unlink()
    done = trainer(tmp_path / "run", f"data.manifest={tmp_path / 'gone' / 'videos.parquet'}")
    assert done.returncode == 2
    assert "windows in a row could not be read" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_video_is_replaced_named_and_counted(trainer, read_rows, videos: Path, tmp_path: Path, workers: int):
    shutil.copytree(videos.parent, tmp_path / "some")
    (tmp_path / "some" / "003.mp4").write_bytes(b"not a video")
    manifest = f"data.manifest={tmp_path / 'some' / 'videos.parquet'}"
    for name in ("a", "b"):
        done = trainer(tmp_path / name, manifest, "train.max_steps=6", f"data.workers={workers}")
        assert done.returncode == 0, done.stderr
    (bad,) = read_rows(tmp_path / "a", "bad_clips")
    assert bad["path"].endswith("003.mp4")
    assert [row["loss"] for row in read_rows(tmp_path / "a")] == [row["loss"] for row in read_rows(tmp_path / "b")]


def test_too_many_unreadable_videos_stop_the_run(trainer, videos: Path, tmp_path: Path):
    shutil.copytree(videos.parent, tmp_path / "many")
    for number in range(0, 30, 2):
        (tmp_path / "many" / f"{number:03d}.mp4").write_bytes(b"")
    done = trainer(tmp_path / "run", f"data.manifest={tmp_path / 'many' / 'videos.parquet'}", "train.max_steps=500")
    assert done.returncode == 2
    assert "data.max_failed_fraction" in done.stderr or "windows in a row" in done.stderr


def test_a_loss_that_is_not_finite_stops_the_run_and_names_term_and_clips(trainer, tmp_path: Path):
    done = trainer(tmp_path / "run", "optim.lr=1e30", "optim.clip_norm=null", "train.max_steps=50")
    line = only_line(done)
    assert "loss" in line
    assert "spread/" in line
    assert ".mp4" in line


def test_a_worker_that_dies_ends_the_run_with_a_message(trainer, read_rows, tmp_path: Path):
    process = trainer.start(tmp_path / "run", "data.workers=1", "train.max_steps=100000", "checkpoint.every=100000")
    while len(read_rows(tmp_path / "run")) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    worker = next(c for c in psutil.Process(process.pid).children() if "worldmodel.data.worker" in " ".join(c.cmdline()))
    worker.kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "a data worker died" in err


def test_a_worker_that_takes_too_long_ends_the_run_with_a_message(trainer, tmp_path: Path):
    done = trainer(tmp_path / "run", "data.workers=1", "data.worker_timeout_s=0.01")
    assert done.returncode == 2
    assert "no batch within data.worker_timeout_s = 0.01 s" in done.stderr


def worker_of(process) -> psutil.Process:
    return next(c for c in psutil.Process(process.pid).children() if "worldmodel.data.worker" in " ".join(c.cmdline()))


def wait_for_rows(process, read_rows, run: Path, count: int) -> None:
    while len(read_rows(run)) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_stopped_worker_ends_the_run_within_the_limit(trainer, read_rows, tmp_path: Path):
    process = trainer.start(tmp_path / "run", "data.workers=1", "train.max_steps=100000", "data.worker_timeout_s=4")
    wait_for_rows(process, read_rows, tmp_path / "run", 2)
    worker = worker_of(process)
    worker.send_signal(signal.SIGSTOP)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2, err
    assert "a worker hangs" in err
    assert "Traceback" not in err
    assert not worker.is_running()


@pytest.mark.slow
def test_ctrl_c_while_waiting_for_storage_saves_and_a_resumed_run_is_the_same(trainer, read_rows, videos: Path, tmp_path: Path):
    shutil.copytree(videos.parent, tmp_path / "disk" / "videos")
    manifest = f"data.manifest={tmp_path / 'disk' / 'videos' / 'videos.parquet'}"
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    overrides = (manifest, "data.workers=1", "data.prefetch=1", "checkpoint.every=1000", "train.max_steps=40")
    assert trainer(whole, *overrides).returncode == 0
    process = trainer.start(cut, *overrides)
    wait_for_rows(process, read_rows, cut, 2)
    (tmp_path / "disk" / "videos").rename(tmp_path / "disk" / "away")
    (tmp_path / "disk" / "other").touch()
    for line in process.stdout:
        if "is missing, empty or not readable" in line:
            break
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped: " in out
    done = read_rows(cut)[-1]["step"]
    assert [int(entry.name) for entry in sorted((cut / "checkpoints").iterdir())] == [done]
    (tmp_path / "disk" / "away").rename(tmp_path / "disk" / "videos")
    assert trainer(cut, *overrides).returncode == 0
    assert [row["loss"] for row in read_rows(cut)] == [row["loss"] for row in read_rows(whole)]
    assert read_rows(cut, "bad_clips") == []


def test_a_killed_group_leaves_nothing_in_shared_memory(trainer, read_rows, tmp_path: Path):
    process = trainer.start(tmp_path / "run", "data.workers=2", "train.max_steps=100000")
    wait_for_rows(process, read_rows, tmp_path / "run", 2)
    main = psutil.Process(process.pid)
    group = [main, *main.children(recursive=True)]
    named = {entry.path for one in group for entry in one.memory_maps() if entry.path.startswith("/dev/shm/")}
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(group, timeout=10)
    assert not any(one.is_running() for one in group)
    assert [path for path in named if Path(path).exists()] == []


def test_the_number_of_failed_reads_is_reported_at_the_end(trainer, videos: Path, tmp_path: Path):
    shutil.copytree(videos.parent, tmp_path / "some")
    (tmp_path / "some" / "003.mp4").chmod(0)  # root ignores permissions
    (tmp_path / "some" / "005.mp4").write_bytes(b"not a video")
    done = trainer(tmp_path / "run", f"data.manifest={tmp_path / 'some' / 'videos.parquet'}", "train.max_steps=6")
    assert done.returncode == 0, done.stderr
    assert "reads failed since this start; other windows replaced them" in done.stdout
