"""The story of docs/large_data.md on two hosts: they train from a store, one is lost with its disk, and the run resumes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from made_clips import write_clips
from moto_store import HAS_MOTO, moto_server
from object_server import serve_objects
from two_hosts import Hosts, ended, hosts, train_on_both

from data_prep.__main__ import main as prepare
from worldmodel import load_model
from worldmodel.manifest import Manifest, write_manifest
from worldmodel.storage.transfer import list_objects

__all__ = ["ended", "hosts"]
RUN, DATA = "s3://bucket/runs/mine", "s3://bucket/train"
EVERY, STEPS = 40, 400


@pytest.fixture
def store(hosts: Hosts, monkeypatch) -> Iterator[tuple[str, str]]:
    """The address of a store for each host; moto where it is installed, else the server of the tests."""
    pytest.importorskip("obstore")
    addresses = hosts.connect_to_this_machine()
    with ExitStack() as stack:
        port = stack.enter_context(moto_server("0.0.0.0")) if HAS_MOTO else stack.enter_context(serve_objects("0.0.0.0")).port
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "verysecretkey",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield f"http://{addresses[0]}:{port}", f"http://{addresses[1]}:{port}"


def write_recipe(folder: Path) -> Path:
    encoder = {"patch_px": 8, "width": 16, "depth": 1, "heads": 2, "latent_dim": 8, "head_width": 16}
    predictor = {"width": 16, "depth": 1, "heads": 2, "horizons": 2}
    content = {
        "run": RUN,
        "data": {"manifest": f"{DATA}/manifest.parquet", "batch_size": 4, "workers": 1},
        "window": {"frames": 8, "fps": 10, "size_px": 32},
        "model": {"kind": "causal", "encoder": encoder, "predictor": predictor, "rollout_steps": 2},
        "optim": {"warmup_steps": 2},
        "train": {"max_steps": STEPS, "log_every": 1, "rank_timeout_s": 12.0},
        "health": {"every": EVERY, "windows": 2},
        "checkpoint": {"every": EVERY},
        "decoder": {"max_steps": 0},
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    return folder / "small.yaml"


def losses(disk: Path) -> dict[int, float]:
    """The loss of every logged step, by the copy of the run on a disk."""
    found = [path for path in disk.rglob("metrics.jsonl") if "copies" not in path.parts]
    lines = found[0].read_text().split("\n")[:-1] if found else []
    return {row["step"]: row["loss"] for row in map(json.loads, lines)}


@pytest.mark.slow
def test_a_host_is_lost_with_its_disk_and_the_run_resumes_from_the_store(hosts: Hosts, store, ended, tmp_path: Path):
    manifest = Manifest.open(write_clips(tmp_path / "made", 20))
    clips = [replace(manifest.clip(row), split="val" if row % 5 == 4 else "train") for row in range(20)]
    write_manifest(tmp_path / "videos.parquet", clips, command="test", config={})
    assert prepare(["shard", str(tmp_path / "videos.parquet"), "--out", DATA, "--shard-mb", "0.2", "--workers", "1"]) == 0
    disks = [tmp_path / "host0", tmp_path / "host1"]
    environments = [
        {"AWS_ENDPOINT_URL": url, "WORLDMODEL_CACHE_DIR": str(disk)} for url, disk in zip(store, disks, strict=True)
    ]
    recipe = write_recipe(tmp_path)

    ended += train_on_both(hosts, [recipe], environments)
    deadline = time.monotonic() + 180
    while not (uploaded := complete_checkpoints()) or max(losses(disks[0]), default=0) < uploaded[-1] + 10:
        assert time.monotonic() < deadline, "no checkpoint at the URL"
        assert all(process.poll() is None for process in ended), ended[0].communicate()[1][:6000]
        time.sleep(0.2)
    hosts.kill(1)
    _, told = ended[0].communicate(timeout=60)
    assert ended[0].returncode != 0
    assert "rank 1 (host " in told
    before = losses(disks[0])
    shutil.rmtree(disks[1])

    again = train_on_both(hosts, [recipe], environments)
    ended += again
    texts = [process.communicate(timeout=240)[1] for process in again]
    assert [process.returncode for process in again] == [0, 0], texts
    assert f"was downloaded from {RUN}" in texts[1]
    after = losses(disks[0])
    assert max(after) == STEPS
    assert {step: after[step] for step in before} == before  # also those after the last checkpoint, which were made again
    assert complete_checkpoints()[-1] == STEPS
    assert load_model(RUN)[0].size_px == 32
    assert b"verysecretkey" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def complete_checkpoints() -> list[int]:
    names = [name.split("/") for name in list_objects(RUN) if name.startswith("checkpoints/") and name.endswith("/state.json")]
    return sorted(int(parts[1]) for parts in names)
