"""Training from shards, in a folder and at a URL, gives the losses of training from files, bit for bit; with actions too."""

import shutil
from pathlib import Path

import pytest
from made_training import losses, run_training, write_clips_with_actions, write_recipe

from data_prep.__main__ import main as prepare
from worldmodel.manifest import Manifest
from worldmodel.signals import read_signals

URL = "s3://bucket/acting"


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Clips with actions, their manifest, and shards of it in a folder beside them."""
    folder = tmp_path_factory.mktemp("acting")
    manifest = write_clips_with_actions(folder, 10)
    assert prepare(["shard", str(manifest), "--out", str(folder / "shards"), "--shard-mb", "0.3", "--workers", "1"]) == 0
    return folder


@pytest.fixture
def made(shards, server, tmp_path) -> Path:
    """A recipe of files; the shards lie at URL too."""
    shutil.copytree(shards / "shards", tmp_path / "shards")
    server.objects |= {f"/bucket/acting/{file.name}": file.read_bytes() for file in (shards / "shards").glob("[ms]*")}
    return write_recipe(tmp_path, shards / "acting.parquet")


def test_losses_from_shards_are_those_from_files_also_with_workers_faults_and_after_a_resume(made, server, new_process):
    folder = made.parent
    assert run_training(made, f"run={folder / 'files'}") == 0
    expected = losses(folder / "files")
    assert len(expected) == 4
    assert run_training(made, f"run={folder / 'local'}", f"data.manifest={folder / 'shards' / 'manifest.parquet'}") == 0
    assert losses(folder / "local") == expected

    new_process()
    server.faults += [503, None, "drop", None, None, "truncate", 500, None] * 2
    assert run_training(made, f"run={folder / 'url'}", f"data.manifest={URL}/manifest.parquet", "data.workers=2") == 0
    assert losses(folder / "url") == expected
    assert not server.faults

    shutil.rmtree(folder / "files" / "checkpoints" / "00000004")  # as if it was killed after step 2
    new_process()
    server.faults += [503, "drop"]
    assert run_training(made, f"run={folder / 'files'}", f"data.manifest={URL}/manifest.parquet") == 0
    assert losses(folder / "files") == expected
    last = Path("checkpoints", "00000004", "model.safetensors")
    assert (folder / "files" / last).read_bytes() == (folder / "local" / last).read_bytes()
    text = b"".join(path.read_bytes() for run in ("url", "files") for path in (folder / run).rglob("*") if path.is_file())
    assert b"SECRETID" not in text
    assert b"verysecretkey" not in text


def test_tables_of_signals_lie_in_the_shards_and_are_read_from_there(made, server, new_process):
    for path in (made.parent / "shards" / "manifest.parquet", f"{URL}/manifest.parquet"):
        clips = [Manifest.open(path).clip(row) for row in range(10)]
        assert all(".tar::" in clip.signals for clip in clips)
        assert len({read_signals(clip.signals).actions.tobytes() for clip in clips}) == 10


def test_a_clip_whose_table_of_signals_is_missing_is_a_bad_clip_and_not_a_crash(made, server, new_process):
    """One shard is replaced at the URL: neither videos nor tables of other content are used."""
    tar = "/bucket/acting/shard-000000.tar"
    server.objects[tar] = bytes(len(server.objects[tar]))
    new_process()
    run = made.parent / "damaged"
    shards = made.parent / "shards" / "manifest.parquet"
    assert run_training(made, f"run={run}", f"data.manifest={shards}") == 0  # the statistics of its actions are kept
    shutil.rmtree(run / "checkpoints" / "00000004")
    assert run_training(made, f"run={run}", f"data.manifest={URL}/manifest.parquet", "data.max_failed_fraction=0.99") == 0
    assert "its content is not what its index says" in (run / "bad_clips.jsonl").read_text()
