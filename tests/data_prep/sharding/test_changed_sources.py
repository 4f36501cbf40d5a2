"""`shard` given again packs what the files hold now, and names members by the bytes that were written."""

import dataclasses
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from made_clips import write_clips

from data_prep.__main__ import main
from data_prep.content_hash import METHOD, content_hash
from data_prep.sharding import writing
from data_prep.sharding.output import make_shard
from data_prep.sharding.plan import ShardJob, ShardSource, plan_shards
from worldmodel.manifest import Manifest, write_manifest
from worldmodel.storage.members import read_named
from worldmodel.storage.shard_index import read_index

KNOWN = {"content_hash": METHOD}


def shard(folder) -> list:
    """Give the same command, and return the clips of the manifest that it writes."""
    assert main(["shard", str(folder / "m.parquet"), "--out", str(folder / "s"), "--workers", "1"]) == 0
    manifest = Manifest.open(folder / "s" / "manifest.parquet")
    return [manifest.clip(row) for row in range(len(manifest))]


def clips_with(folder, **columns):
    """Two clips with other columns: functions of the row."""
    manifest = Manifest.open(write_clips(folder, 2))
    return [
        dataclasses.replace(manifest.clip(row), **{name: value(row) for name, value in columns.items()}) for row in range(2)
    ]


@pytest.mark.parametrize("column", ["signals", "truth"])
def test_a_table_that_was_rewritten_in_place_is_packed_again(tmp_path, column: str):
    tables = [tmp_path / f"{row}.bin" for row in range(2)]
    for table in tables:
        table.write_bytes(b"old")
    clips = clips_with(tmp_path, **{column: lambda row: str(tables[row])})
    write_manifest(tmp_path / "m.parquet", clips, command="test", config=KNOWN)
    assert [read_named(getattr(clip, column), 9) for clip in shard(tmp_path)] == [b"old", b"old"]
    stat = os.stat(tables[0])
    tables[0].write_bytes(b"new")  # of equal size
    os.utime(tables[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert [read_named(getattr(clip, column), 9) for clip in shard(tmp_path)] == [b"new", b"old"]


def test_a_video_without_a_known_hash_that_was_replaced_is_packed_again(tmp_path):
    clips = clips_with(tmp_path, content_hash=lambda row: f"unknown {row}")
    write_manifest(tmp_path / "m.parquet", clips, command="test", config={})
    shard(tmp_path)
    videos = [Path(clip.path) for clip in clips]
    content = [videos[1].read_bytes(), videos[1].read_bytes() + b"more"]
    for video, written in zip(videos, content, strict=True):
        video.write_bytes(written)
    assert [read_named(f"{clip.path}::{clip.member}", 1 << 20) for clip in shard(tmp_path)] == content


def test_a_shard_of_known_hashes_is_not_made_again_when_only_times_change(tmp_path):
    clips = clips_with(tmp_path, content_hash=lambda row: content_hash(str(tmp_path / "clips" / f"00{row}.mp4"), None))
    write_manifest(tmp_path / "m.parquet", clips, command="test", config=KNOWN)
    shard(tmp_path)
    before = os.stat(tmp_path / "s" / "shard-000000.tar").st_mtime_ns
    os.utime(clips[0].path)
    shard(tmp_path)
    assert os.stat(tmp_path / "s" / "shard-000000.tar").st_mtime_ns == before


def test_a_rejected_file_that_was_mended_is_packed(tmp_path):
    clips = clips_with(tmp_path, content_hash=lambda row: content_hash(str(tmp_path / "clips" / f"00{row}.mp4"), None))
    write_manifest(tmp_path / "m.parquet", clips, command="test", config=KNOWN)
    os.rename(clips[1].path, tmp_path / "away")
    assert len(shard(tmp_path)) == 1
    os.rename(tmp_path / "away", clips[1].path)
    assert len(shard(tmp_path)) == 2


def test_the_digest_of_a_job_depends_on_the_tar_of_a_member(tmp_path):
    def digest() -> str:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            info = tarfile.TarInfo("v.mp4")
            info.size = 3
            tar.addfile(info, io.BytesIO(content))
        (job,) = plan_shards([ShardSource(str(tmp_path / "a.tar"), "v.mp4", None)], 1000)
        return job.digest

    content = b"old"
    first = digest()
    content = b"new"
    assert digest() != first


def test_the_digest_of_a_job_depends_on_the_etag_of_an_object(server, new_process):
    digests = []
    for content in (b"old", b"new", b"new"):
        server.objects["/bucket/clip.mp4"] = content
        new_process()
        (job,) = plan_shards([ShardSource("s3://bucket/clip.mp4", None, None)], 1000)
        digests.append(job.digest)
    assert digests[0] != digests[1] == digests[2]


@pytest.mark.parametrize("size", [1, (1 << 20) - 1, 1 << 20, (4 << 20) + 700, (9 << 20) + 1])
def test_a_member_is_named_by_the_content_hash(tmp_path, size: int):
    (tmp_path / "a.mp4").write_bytes(np.random.default_rng(size).bytes(size))
    (stored,) = make_shard(ShardJob(0, (ShardSource(str(tmp_path / "a.mp4"), None, None),)), str(tmp_path))
    assert stored.member == content_hash(str(tmp_path / "a.mp4"), None)[:32] + ".mp4"


def test_a_file_that_changes_while_it_is_packed_has_the_name_of_what_was_written(tmp_path, monkeypatch):
    path, real = tmp_path / "a.mp4", writing._read_exactly
    path.write_bytes(bytes(3 * writing.BLOCK_BYTES))

    def changing(file, size):
        block = real(file, size)
        path.write_bytes(np.random.default_rng(0).bytes(3 * writing.BLOCK_BYTES))
        return block

    monkeypatch.setattr(writing, "_read_exactly", changing)
    (stored,) = make_shard(ShardJob(0, (ShardSource(str(path), None, None),)), str(tmp_path))
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        (tmp_path / "out").write_bytes(tar.extractfile(stored.member).read())
    assert stored.member == content_hash(str(tmp_path / "out"), None)[:32] + ".mp4"
    assert len(read_index(tmp_path / "shard-000000.tar.index")) == 1


def test_a_file_that_changes_before_it_is_read_is_refused_where_the_manifest_knows_its_hash(tmp_path, monkeypatch):
    path, real = tmp_path / "a.mp4", writing.open_bytes
    path.write_bytes(b"first")
    source = ShardSource(str(path), None, content_hash(str(path), None))

    def changing(*place):
        path.write_bytes(b"other")
        return real(*place)

    monkeypatch.setattr(writing, "open_bytes", changing)
    (stored,) = make_shard(ShardJob(0, (source,)), str(tmp_path))
    assert (stored.member, stored.reason) == (None, "changed")
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        assert not tar.getnames()
