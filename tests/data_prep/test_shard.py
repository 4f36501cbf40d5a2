"""`python -m data_prep shard`: plain tars with an index, which hold the same videos in the same order."""

import dataclasses
import json
import os
import tarfile

import numpy as np
import pytest
import torch
from made_clips import windows_of, write_clips

from data_prep.__main__ import main
from data_prep.content_hash import METHOD, content_hash
from data_prep.sharding.output import make_shard
from data_prep.sharding.plan import ShardJob, ShardSource, plan_shards
from worldmodel.data.loader import training_batches
from worldmodel.manifest import Manifest, write_manifest
from worldmodel.storage.shard_index import BLOCK_BYTES, read_index


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A manifest with hashes: of one file two clips, a file that is a copy, one that was changed, one that is missing."""
    folder = tmp_path_factory.mktemp("shard")
    manifest = Manifest.open(write_clips(folder, 8))
    clips = [manifest.clip(row) for row in range(8)]
    clips = [dataclasses.replace(clip, content_hash=content_hash(clip.path, None)) for clip in clips]
    clips.insert(3, dataclasses.replace(clips[0], clip_id="again", start_s=0.1))
    copy = folder / "clips" / "copy.mp4"
    copy.write_bytes((folder / "clips" / "005.mp4").read_bytes())
    clips.append(dataclasses.replace(clips[6], clip_id="copy", path=str(copy)))
    with open(folder / "clips" / "006.mp4", "ab") as file:
        file.write(b"more")
    (folder / "clips" / "007.mp4").unlink()
    write_manifest(folder / "m.parquet", clips, command="test", config={"content_hash": METHOD})
    assert (
        main(["shard", str(folder / "m.parquet"), "--out", str(folder / "shards"), "--shard-mb", "0.2", "--workers", "1"]) == 0
    )
    return folder


def rows(path):
    manifest = Manifest.open(path)
    return [manifest.clip(row) for row in range(len(manifest))]


def test_training_from_shards_reads_the_frames_of_the_files_in_their_order(tmp_path):
    files = write_clips(tmp_path, 6)
    assert main(["shard", str(files), "--out", str(tmp_path / "shards"), "--workers", "1"]) == 0
    shards = tmp_path / "shards" / "manifest.parquet"
    assert Manifest.open(shards).digest() == Manifest.open(files).digest()
    for expected, found in zip(*(training_batches(windows_of(path), 0, 3) for path in (files, shards)), strict=True):
        assert torch.equal(expected[0].ids, found[0].ids)
        assert torch.equal(expected[0].frames, found[0].frames)


def test_clips_keep_their_columns_and_clips_of_equal_videos_share_a_member(made):
    sources = [clip for clip in rows(made / "m.parquet") if not clip.path.endswith(("006.mp4", "007.mp4"))]
    found = rows(made / "shards" / "manifest.parquet")
    for ours, source in zip(found, sources, strict=True):
        assert dataclasses.replace(ours, path=source.path, member=None) == source
    place = {clip.clip_id: (clip.path, clip.member) for clip in found}
    assert place["again"] == place["0"]
    assert place["copy"] == place["5"]
    assert len(set(place.values())) == len(place) - 2


def test_a_video_that_is_not_what_the_manifest_says_is_rejected_by_name(made):
    lines = (made / "shards" / "manifest.parquet.rejected.jsonl").read_text().splitlines()
    assert {os.path.basename(line["path"]): line["reason"] for line in map(json.loads, lines)} == {
        "006.mp4": "changed",
        "007.mp4": "missing file",
    }


def test_the_index_says_where_tar_finds_the_members(made):
    tars = sorted((made / "shards").glob("*.tar"))
    assert len(tars) > 1
    for path in tars:
        index = read_index(path.with_name(path.name + ".index"))
        with tarfile.open(path) as tar:
            members = {info.name: (info.offset_data, info.size) for info in tar}
        found = [index.find(name.decode()) for name in index.names]
        assert {member.name: (member.offset, member.size) for member in found} == members
        assert index.find("other.mp4") is None
        assert index.tar_bytes == path.stat().st_size


def test_the_same_command_resumes_and_makes_the_same_bytes(made, capsys):
    folder = made / "shards"
    before = {path.name: path.read_bytes() for path in folder.glob("*.tar*")}
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    (folder / "shard-000001.tar.index").unlink()  # as after a kill between the tar and its index
    command = ["shard", str(made / "m.parquet"), "--out", str(folder), "--workers", "1"]
    assert main([*command, "--shard-mb", "0.2"]) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.tar*")} == before
    again = {path.name for path in folder.glob("*.tar") if path.stat().st_mtime_ns != times[path.name]}
    assert again == {"shard-000001.tar"}
    assert main([*command, "--shard-mb", "0.3"]) == 1
    assert "choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["manifest.parquet", "shard-000001.tar", "shard-000001.tar.index"])
def test_a_folder_of_other_files_is_not_filled(tmp_path, made, capsys, name: str):
    (tmp_path / name).write_bytes(b"mine")
    command = ["shard", str(made / "m.parquet"), "--out", str(tmp_path), "--shard-mb", "0.2", "--workers", "1"]
    assert main(command) == 1
    assert f"{name}: exists and was not made by this command" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("[ms]*")] == [name]
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_url_with_a_password_is_refused_in_one_line(made, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["shard", str(made / "m.parquet"), "--out", "https://me:key@host/a"])
    assert "error: https://...: a URL must not hold a user name" in capsys.readouterr().err.splitlines()[-1]


def test_a_damaged_index_is_an_error_of_its_own(made, tmp_path):
    whole = (made / "shards" / "shard-000000.tar.index").read_bytes()
    for content in (whole[:-40], b"", b"PK" + bytes(50), whole[:200] + bytes(40) + whole[240:]):
        (tmp_path / "index").write_bytes(content)
        with pytest.raises(ValueError, match="index: not the index of a shard, or damaged"):
            read_index(tmp_path / "index")


def test_a_folder_of_frames_is_refused_with_advice(tmp_path):
    (tmp_path / "frames").mkdir()
    job = ShardJob(0, (ShardSource(str(tmp_path / "frames"), None, None),))
    (stored,) = make_shard(job, str(tmp_path))
    assert stored.member is None
    assert "data_prep transcode" in stored.detail


def test_a_member_longer_than_a_block_has_a_digest_per_block_and_comes_out_whole(tmp_path):
    content = np.random.default_rng(0).bytes(BLOCK_BYTES + 5)
    (tmp_path / "long.MP4").write_bytes(content)
    (stored,) = make_shard(ShardJob(0, (ShardSource(str(tmp_path / "long.MP4"), None, None),)), str(tmp_path))
    assert stored.member.endswith(".mp4")
    member = read_index(tmp_path / "shard-000000.tar.index").find(stored.member)
    assert len(member.digests) == 2
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        assert tar.extractfile(stored.member).read() == content


def test_shards_are_filled_in_the_order_of_the_manifest(tmp_path):
    sources = []
    for number, size in enumerate((60, 60, 300, 10, 10)):
        (tmp_path / str(number)).write_bytes(bytes(size))
        sources.append(ShardSource(str(tmp_path / str(number)), None, None))
    jobs = list(plan_shards([*sources, sources[0]], 120))
    assert [[int(os.path.basename(source.path)) for source in job.sources] for job in jobs] == [[0, 1], [2], [3, 4]]
