"""Training windows from shards in object storage: the samples of the files, in their order, whatever the store does."""

import json

import numpy as np
import pytest
import torch
from made_clips import windows_of, write_clips

from data_prep.__main__ import main
from data_prep.sharding.output import stage
from worldmodel.data import reading
from worldmodel.data.loader import DataError, training_batches
from worldmodel.manifest import Manifest, ManifestError, write_manifest
from worldmodel.storage.cache import cache_folder
from worldmodel.video import read_frames

URL = "s3://bucket/set"


_uploaded: dict[str, bytes] = {}  # by the first test; a second upload would only take time


@pytest.fixture
def made(server, tmp_path):
    """A manifest of files, and the same videos as shards at URL."""
    made = write_clips(tmp_path, 10)
    if not _uploaded:
        assert main(["shard", str(made), "--out", URL, "--shard-mb", "0.2", "--workers", "1"]) == 0
        _uploaded.update(server.objects)
    server.objects.update(_uploaded)
    return made


def batches(manifest, **config):
    return [batch for step in training_batches(windows_of(manifest, **config), 0, 4) for batch in step]


def assert_equal(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.bad == theirs.bad == ()
        assert torch.equal(ours.ids, theirs.ids)
        assert torch.equal(ours.frames, theirs.frames)


def test_shards_at_a_url_give_the_samples_of_the_files(made, server, tmp_path):
    expected = batches(made)
    server.faults += [503, "truncate", "drop", 500]
    assert_equal(batches(f"{URL}/manifest.parquet"), expected)
    server.requests.clear()
    assert_equal(batches(f"{URL}/manifest.parquet", workers=1), expected)
    assert all(request.startswith("HEAD") for request in server.requests)  # every block lies in the cache
    assert Manifest.open(f"{URL}/manifest.parquet").digest() == Manifest.open(made).digest()
    text = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"verysecretkey" not in text
    assert b"AKIASECRETID" not in text


def test_a_store_that_is_away_is_waited_for_and_replaces_no_sample(made, server, new_process, monkeypatch):
    expected = batches(made)
    windows = windows_of(f"{URL}/manifest.parquet", storage_wait_s=60)
    new_process()
    server.always["shard-"] = 503
    monkeypatch.setattr("worldmodel.data.batch_waiting.RETRY_S", 0.01)
    asked = []

    def stop_requested():
        asked.append(1)
        if len(asked) > 2:
            server.always.clear()
        return False

    found = training_batches(windows, 0, 4, stop_requested=stop_requested)
    assert_equal([batch for step in found for batch in step], expected)
    assert len(asked) > 2


def test_a_store_that_stays_away_ends_the_run_with_its_name(made, server, new_process):
    windows = windows_of(f"{URL}/manifest.parquet", storage_wait_s=0)
    new_process()
    server.always["shard-"] = 403
    with pytest.raises(DataError, match=r"storage of s3://bucket does not answer \(s3://bucket/set/shard-.*refuses access"):
        next(training_batches(windows, 0, 1))


def test_one_replaced_shard_is_a_bad_clip_that_names_it(made, server, new_process):
    windows = windows_of(f"{URL}/manifest.parquet")
    changed = "/bucket/set/shard-000000.tar"
    server.objects[changed] = bytes(len(server.objects[changed]))
    new_process()
    bad = [clip for step in training_batches(windows, 0, 4) for batch in step for clip in batch.bad]
    assert bad
    assert {clip.path.split("::")[0] for clip in bad} == {"s3://bucket/set/shard-000000.tar"}
    assert all("its content is not what its index says" in clip.reason for clip in bad)


def test_a_truncated_shard_is_told(made, server, new_process):
    index = windows_of(f"{URL}/manifest.parquet").sources[0].window_at(0, 0.0)
    key = index.path.removeprefix("s3:/")
    server.objects[key] = server.objects[key][:-1024]
    new_process()
    request = reading.ReadRequest(index.path, index.member, None, (0,), None, 10.0, 32, 0.5, "pyav")
    failure = reading.read_window(request)
    assert isinstance(failure, reading.ReadFailure)
    assert failure.kind == "clip"
    assert "truncated, or replaced without its index" in failure.reason


def test_a_manifest_at_a_url_cannot_name_files_of_this_machine(made, server, tmp_path, new_process):
    server.objects["/bucket/m.parquet"] = (tmp_path / "m.parquet").read_bytes()  # relative: below its own folder
    assert Manifest.open("s3://bucket/m.parquet").clip(0).path == "s3://bucket/clips/000.mp4"
    moved = tmp_path / "elsewhere" / "m.parquet"
    moved.parent.mkdir()
    clip = Manifest.open(made).clip(0)
    write_manifest(moved, [clip], command="test", config={})  # absolute: not below the folder of this manifest
    server.objects["/bucket/absolute.parquet"] = moved.read_bytes()
    with pytest.raises(ManifestError, match="leaves the folder s3://bucket"):
        Manifest.open("s3://bucket/absolute.parquet").clip(0)


def test_a_plain_video_at_a_url_is_read(made, server, tmp_path):
    server.objects["/bucket/clip.mp4"] = (tmp_path / "clips" / "003.mp4").read_bytes()
    frames = read_frames("s3://bucket/clip.mp4", indices=[0, 7])
    assert np.array_equal(frames, read_frames(tmp_path / "clips" / "003.mp4", indices=[0, 7]))


def test_the_same_command_resumes_and_uploads_no_shard_again(made, server, capsys):
    del server.objects["/bucket/set/shard-000001.tar.index"]  # as if it was killed between the two uploads
    kept = dict(server.objects)
    server.objects["/bucket/set/shard-000000.tar"] += b""
    assert main(["shard", str(made), "--out", URL, "--shard-mb", "0.2", "--workers", "1"]) == 0
    tars = {path: content for path, content in server.objects.items() if path.endswith(".tar")}
    assert tars == {path: content for path, content in kept.items() if path.endswith(".tar")}
    assert main(["shard", str(made), "--out", URL, "--shard-mb", "0.3", "--workers", "1"]) == 1
    assert "choose another --out" in capsys.readouterr().err
    assert json.loads(server.objects["/bucket/set/shards.json"])["shard_bytes"] == 200_000
    assert not list((cache_folder() / "unfinished").iterdir())


def test_shards_for_a_url_are_made_within_the_folder_of_the_cache():
    """The folder above it may not be writable."""
    with stage(URL) as folder:
        assert cache_folder() in folder.parents
