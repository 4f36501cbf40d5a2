"""Shards whose videos lie in object storage, and faults that are not the fault of a video."""

import time

import pytest

from data_prep.curation.analysis import VideoClips, analyse_video
from data_prep.curation.recipe import CurationRecipe
from data_prep.pool import Failed
from data_prep.sharding.output import make_shard
from data_prep.sharding.plan import ShardJob, ShardSource, plan_shards
from worldmodel.data.reading import ReadFailure, ReadRequest, read_window
from worldmodel.manifest import Clip
from worldmodel.storage import cache
from worldmodel.storage.errors import StorageError
from worldmodel.storage.objects import prefetch

URL = "s3://bucket/clip.mp4"


def test_prefetching_many_members_with_an_empty_cache_ends(server, tmp_path):
    sources = []
    for number in range(16):
        (tmp_path / f"{number}.mp4").write_bytes(bytes([number]) * 100)
        sources.append(ShardSource(str(tmp_path / f"{number}.mp4"), None, None))
    stored = make_shard(ShardJob(0, tuple(sources)), str(tmp_path))
    for suffix in ("", ".index"):
        server.objects[f"/bucket/shard.tar{suffix}"] = (tmp_path / f"shard-000000.tar{suffix}").read_bytes()
    prefetch([("s3://bucket/shard.tar", found.member) for found in stored])
    until = time.monotonic() + 10
    while len(list(cache.cache_folder().glob("??/" + "?" * 64))) < 17 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(list(cache.cache_folder().glob("??/" + "?" * 64))) == 17  # 16 members and the index


def test_a_store_that_does_not_answer_rejects_no_video_and_finishes_no_shard(server, tmp_path, new_process):
    server.objects["/bucket/clip.mp4"] = b"content"
    (tmp_path / "out").mkdir()
    job = ShardJob(0, (ShardSource(URL, None, None),))
    server.always["clip"] = 503
    found = make_shard(job, str(tmp_path / "out"))
    assert isinstance(found, Failed)
    assert "HTTP 503" in found.detail
    assert not list((tmp_path / "out").glob("shard*"))
    with pytest.raises(StorageError, match="HTTP 503"):  # a size of 0 would change the plan
        list(plan_shards(job.sources, 1000))
    server.always.clear()
    assert make_shard(job, str(tmp_path / "out"))[0].member is not None


def test_curation_does_not_call_a_video_unreadable_while_its_store_is_away(server):
    clip = Clip("id", URL, None, 0.0, 1.0, 10.0, 10, 32, 32, 0, "h264", "train", None, None, "test", "")
    server.always["clip"] = 503
    found = analyse_video(VideoClips(URL, None, None, (clip,)), CurationRecipe())
    assert isinstance(found, Failed)
    assert found.reason == "storage"


def test_a_cache_that_cannot_be_written_is_a_fault_of_the_machine_and_not_of_the_clip(server, tmp_path, monkeypatch):
    server.objects["/bucket/clip.mp4"] = b"content"
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("WORLDMODEL_CACHE_DIR", str(tmp_path / "file" / "cache"))
    found = read_window(ReadRequest(URL, None, (0.0,), None, None, 10.0, 32, 0.5, "pyav"))
    assert isinstance(found, ReadFailure)
    assert found.kind == "machine"
    assert "cannot be written" in found.reason
