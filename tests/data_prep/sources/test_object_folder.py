"""Data sets below a URL: the manifest of the same folder on a disk, and no object that was replaced is ever read."""

import io
import json
import tarfile
from dataclasses import replace

import pytest
import torch
from made_clips import windows_of, write_clips

from data_prep.__main__ import main
from data_prep.inspection import inspect_item
from data_prep.pool import Failed
from data_prep.sources import OBJECT_SOURCES, Item, SkippedFiles, csv_list
from worldmodel.data.loader import training_batches
from worldmodel.manifest import Manifest
from worldmodel.storage.objects import open_object
from worldmodel.storage.shard_index import Member, write_index
from worldmodel.storage.urls import split_version

ROOT = "s3://bucket/set"


def tar_of(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture
def folder(tmp_path, server):
    """A folder of videos and other files, and the same files below ROOT."""
    write_clips(tmp_path / "made", 6)
    videos = [path.read_bytes() for path in sorted((tmp_path / "made" / "clips").iterdir())]
    files = {
        "b.mp4": videos[0],
        "a/deep/c.mp4": videos[1],
        "a/z.mp4": videos[2],
        "a/half.mp4": videos[2][: len(videos[2]) // 2],
        "empty.mp4": b"",
        "notes.txt": b"no video",
        ".hidden/h.mp4": videos[3],
        "a/packed.tar": tar_of({"x/0.mp4": videos[3], "x/0.txt": b"text", "1.mp4": videos[4]}),
        "a/packed.tar.gz": b"",
        "copies/.worldmodel.json": b'{"made_by": "python -m data_prep transcode"}',
        "copies/0.mp4": videos[5],
    }
    root = tmp_path / "set"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        server.objects[f"/bucket/set/{name}"] = content
    return root


def clips_of(path, root):
    manifest = Manifest.open(path)
    clips = [manifest.clip(row) for row in range(len(manifest))]
    return [replace(clip, path=split_version(clip.path)[0].removeprefix(f"{root}/")) for clip in clips]


def rejected_of(path, root):
    rows = [json.loads(line) for line in (path.parent / f"{path.name}.rejected.jsonl").read_text().splitlines()]
    return [(split_version(row["path"])[0].removeprefix(f"{root}/").removeprefix("set/"), row["reason"]) for row in rows]


def test_a_folder_at_a_url_is_indexed_like_the_same_folder_on_a_disk(folder, server, tmp_path, in_this_process, capsys):
    assert main(["index", str(folder), "--out", str(tmp_path / "local.parquet"), "--workers", "1"]) == 0
    local = capsys.readouterr().out
    assert main(["index", f"{ROOT}/", "--out", str(tmp_path / "remote.parquet"), "--workers", "1"]) == 0
    remote = capsys.readouterr().out
    assert remote == local.replace("local.parquet", "remote.parquet")
    assert clips_of(tmp_path / "remote.parquet", ROOT) == clips_of(tmp_path / "local.parquet", folder)
    assert rejected_of(tmp_path / "remote.parquet", ROOT) == rejected_of(tmp_path / "local.parquet", folder)
    assert Manifest.open(tmp_path / "remote.parquet").digest() == Manifest.open(tmp_path / "local.parquet").digest()
    found = [batches_of(tmp_path / f"{name}.parquet") for name in ("local", "remote")]
    for ours, theirs in zip(*found, strict=True):
        assert ours.bad == theirs.bad == ()
        assert torch.equal(ours.frames, theirs.frames)


def batches_of(manifest):
    return [batch for step in training_batches(windows_of(manifest, batch_size=2), 0, 4) for batch in step]


def test_an_object_that_is_replaced_later_is_a_bad_clip_that_says_so(folder, server, tmp_path, in_this_process, new_process):
    out = tmp_path / "m.parquet"
    assert main(["index", ROOT, "--out", str(out), "--workers", "1"]) == 0
    windows = windows_of(out)
    new_process()
    server.objects["/bucket/set/b.mp4"] = server.objects["/bucket/set/a/z.mp4"]
    server.objects["/bucket/set/a/packed.tar"] += bytes(512)
    bad = [clip for step in training_batches(windows, 0, 8) for batch in step for clip in batch.bad]
    assert {clip.path.split("#")[0] for clip in bad} == {f"{ROOT}/b.mp4", f"{ROOT}/a/packed.tar"}
    assert all("the object was changed" in clip.reason for clip in bad)


def test_a_store_that_does_not_answer_ends_the_command_and_rejects_no_video(folder, server, tmp_path, in_this_process, capsys):
    out = tmp_path / "m.parquet"
    server.always["/bucket/set/"] = 403
    assert main(["index", ROOT, "--out", str(out), "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert f"{ROOT}/" in error
    assert "refuses access" in error
    assert "the same command resumes from here" in error
    assert isinstance(inspect_item(Item(f"{ROOT}/b.mp4"), 0.1, False), Failed)
    server.always.clear()
    assert main(["index", ROOT, "--out", str(out), "--workers", "1"]) == 0
    assert not list(tmp_path.glob("*.part.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s3://bucket/nothing"], "no videos in this folder or below it; it is empty"),
        (["https://host/folder"], "objects are listed at s3:// and gs:// only"),
        ([ROOT, "--source", "kinetics"], "at URLs there are folder, classes, webdataset"),
    ],
)
def test_what_cannot_be_indexed_is_told(arguments, message, server, tmp_path, capsys):
    assert main(["index", *arguments, "--out", str(tmp_path / "m.parquet")]) == 1
    assert message in capsys.readouterr().err


def test_classes_frames_outputs_of_other_programs_and_unusual_names(server):
    for name in (
        "walk/0.mp4",
        "walk/x/1.mp4",
        "2.mp4",
        "frames/0.png",
        "frames/1.png",
        "own/shards.json",
        "own/a.mp4",
        "q/b..mp4",
    ):
        server.objects[f"/bucket/set/{name}"] = b"content"
    items = list(OBJECT_SOURCES["classes"](ROOT, SkippedFiles()))
    assert [(split_version(item.path)[0].removeprefix(f"{ROOT}/"), item.label, item.problem) for item in items] == [
        ("2.mp4", None, None),
        ("frames", None, "folder of frames"),
        ("own/a.mp4", "own", None),  # shards.json is not one of this project
        ("q/b..mp4", "q", None),
        ("walk/0.mp4", "walk", None),
        ("walk/x/1.mp4", "walk", None),
    ]


def test_samples_of_webdataset_tars_are_read_in_place(server, tmp_path, new_process):
    tar = tar_of({"0.mp4": b"video 0", "0.cls": b"walk", "1.mp4": b"video 1", "1.json": b'{"label": "run"}'})
    server.objects["/bucket/set/train/0.tar"] = tar
    (one, two) = OBJECT_SOURCES["webdataset"](ROOT, SkippedFiles())
    assert [(item.member, item.label, item.split) for item in (one, two)] == [
        ("0.mp4", "walk", "train"),
        ("1.mp4", "run", "train"),
    ]
    assert open_object(two.path, "1.mp4").read() == b"video 1"
    with pytest.raises(KeyError):
        open_object(two.path, "2.mp4")
    at = tar.index(b"video 1")  # with an index, no header is read
    write_index(tmp_path / "index", [Member("1.mp4", at, 7, (bytes(32),))], len(tar), {})
    server.objects["/bucket/set/train/0.tar.index"] = (tmp_path / "index").read_bytes()
    new_process()
    (only,) = OBJECT_SOURCES["folder"](ROOT, SkippedFiles())
    assert only.member == "1.mp4"


def test_a_list_may_name_urls(tmp_path):
    (tmp_path / "l.csv").write_text("https://host/a b.mp4 walk\nc.mp4 run\n")
    items = list(csv_list.find(tmp_path / "l.csv", SkippedFiles()))
    assert [(item.path, item.label) for item in items] == [("https://host/a b.mp4", "walk"), (str(tmp_path / "c.mp4"), "run")]
