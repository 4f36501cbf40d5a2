"""Training on two hosts, which are network namespaces with a virtual cable, also while the cable is disconnected."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import launch
import numpy as np
import psutil
import pytest
import yaml
from two_hosts import TRAIN, Hosts, ended, hosts, train_on_both

from worldmodel import checkpoint as checkpoints
from worldmodel.manifest import Clip, write_manifest
from worldmodel.video import inspect_video, write_video

__all__ = ["ended", "hosts"]
LIMIT_S = 12.0


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    clips = []
    for number in range(20):
        path = folder / f"{number}.mp4"
        write_video(path, np.random.default_rng(number).integers(0, 256, (8, 16, 16, 3), np.uint8), 8)
        info = inspect_video(path)
        name, size = f"{number:016d}", (info.width, info.height, info.rotation, info.codec)
        split = "val" if number % 5 == 4 else "train"
        clips.append(
            Clip(name, str(path), None, 0.0, info.duration_s, info.fps, info.frames, *size, split, None, None, "noise", name)
        )
    write_manifest(folder / "videos.parquet", clips, command="test", config={})
    encoder = {"patch_px": 8, "width": 16, "depth": 1, "heads": 2, "latent_dim": 8, "head_width": 16}
    predictor = {"width": 16, "depth": 1, "heads": 2, "horizons": 2}
    content = {
        "data": {"manifest": str(folder / "videos.parquet"), "batch_size": 4, "workers": 0},
        "window": {"frames": 8, "fps": 8, "size_px": 16},
        "model": {"kind": "causal", "encoder": encoder, "predictor": predictor, "rollout_steps": 2},
        "optim": {"warmup_steps": 2},
        "train": {"max_steps": 100000, "log_every": 1, "rank_timeout_s": LIMIT_S},
        "health": {"every": 5, "windows": 2},
        "checkpoint": {"every": 5},
        "decoder": {"max_steps": 0},
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    return folder / "small.yaml"


def on_both(
    hosts: Hosts, recipe: Path, run: Path, *overrides: str, second_after_s: float = 0, options: Sequence[str] = ()
) -> list[subprocess.Popen[str]]:
    return train_on_both(hosts, [recipe, f"run={run}", *overrides], second_after_s=second_after_s, options=options)


def rows(run: Path) -> list[dict]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def wait_for(run: Path, count: int, processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 120
    while len(rows(run)) < count:
        assert time.monotonic() < deadline, "no progress"
        assert all(process.poll() is None for process in processes), processes[0].communicate()
        time.sleep(0.05)


@pytest.mark.slow
def test_two_hosts_train_like_two_ranks_of_one_host(hosts: Hosts, recipe: Path, ended, tmp_path: Path):
    ended += on_both(hosts, recipe, tmp_path / "two", "train.max_steps=8")
    for process in ended:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = [*launcher, str(TRAIN), str(recipe), f"run={tmp_path / 'one'}", "train.max_steps=8"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    assert launch.run(arguments, timeout=120, env=one_thread).returncode == 0
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert [row["batch_hash"] for row in one] == [row["batch_hash"] for row in two]
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-5)


@pytest.mark.slow
def test_a_disconnected_cable_ends_both_hosts_and_each_names_the_other(hosts: Hosts, recipe: Path, ended, tmp_path: Path):
    run = tmp_path / "run"
    ended += on_both(hosts, recipe, run)
    wait_for(run, 12, ended)
    hosts.cable("down")
    cut = time.monotonic()
    for process, other in zip(ended, ("rank 1 (host ", "rank 0 (host "), strict=True):
        _, err = process.communicate(timeout=LIMIT_S + 20)
        assert process.returncode != 0
        line = next(line for line in err.splitlines() if "no heartbeat" in line)
        assert other in line
        assert str(run / "checkpoints") in line
    assert time.monotonic() - cut < LIMIT_S + 3  # torchrun itself needs some time
    last = checkpoints.latest_checkpoint(run)
    assert last is not None
    assert last.step >= 10


@pytest.mark.slow
def test_a_short_interruption_of_the_cable_ends_nothing(hosts: Hosts, recipe: Path, ended, tmp_path: Path):
    run = tmp_path / "run"
    ended += on_both(hosts, recipe, run)
    wait_for(run, 12, ended)
    hosts.cable("down")
    time.sleep(LIMIT_S / 2)
    before = len(rows(run))
    hosts.cable("up")
    wait_for(run, before + 20, ended)


@pytest.mark.slow
def test_a_host_that_starts_late_is_waited_for(hosts: Hosts, recipe: Path, ended, tmp_path: Path):
    ended += on_both(hosts, recipe, tmp_path / "run", "train.max_steps=8", second_after_s=LIMIT_S / 2)
    for process in ended:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert len(rows(tmp_path / "run")) == 8


@pytest.mark.slow
def test_torchrun_restarts_both_hosts_after_a_process_of_either_is_killed(hosts: Hosts, recipe: Path, ended, tmp_path: Path):
    run = tmp_path / "run"
    ended += on_both(hosts, recipe, run, "train.max_steps=40", options=["--max-restarts", "2"])
    for victim, after in ((1, 7), (0, 17)):
        wait_for(run, after, ended)
        (rank,) = psutil.Process(ended[victim].pid).children()
        rank.kill()
    for process in ended:
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
    assert [row["step"] for row in rows(run)] == list(range(1, 41))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, which one of the hosts writes to."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)], capture_output=True).returncode != 0:
        pytest.skip("this system does not let root mount a small file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.slow
def test_a_full_disk_of_the_writing_host_ends_both_and_the_last_checkpoint_is_whole(
    hosts: Hosts, recipe: Path, ended, small_disk: Path
):
    run = small_disk / "run"
    ended += on_both(hosts, recipe, run)
    wait_for(run, 12, ended)
    with open(small_disk / "rest", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    for process in ended:  # both hosts say what failed, and what is left
        _, err = process.communicate(timeout=LIMIT_S + 30)
        assert process.returncode != 0
        assert "No space left on device" in err
        assert "the last intact checkpoint is" in err
    (small_disk / "rest").unlink()
    last = checkpoints.latest_checkpoint(run)
    assert last is not None
    assert last.step >= 10
