"""Outputs at URLs are those of a folder, and never mix with other objects."""

import pytest
from made_clips import write_clips

from data_prep.__main__ import main
from worldmodel.manifest import Manifest
from worldmodel.video import read_frames

COPIES = "s3://bucket/copies"


@pytest.fixture
def store(server, tmp_path, in_this_process):
    made = write_clips(tmp_path / "made", 3)
    for path in (made.parent / "clips").iterdir():
        server.objects[f"/bucket/videos/{path.name}"] = path.read_bytes()
    assert main(["index", "s3://bucket/videos", "--out", "s3://bucket/m.parquet", "--workers", "1"]) == 0
    return server


def transcode(out: str) -> int:
    return main(["transcode", "s3://bucket/m.parquet", "--out", out, "--short-side-px", "16", "--workers", "1"])


def test_copies_at_a_url_are_those_of_a_folder_and_no_video_is_uploaded_twice(store, tmp_path, new_process):
    assert transcode(str(tmp_path / "local")) == transcode(COPIES) == 0
    folder = tmp_path / "local"
    local = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.mp4")}
    start = "/bucket/copies/"
    copied = {name: content for name, content in store.objects.items() if name.startswith(start) and name.endswith(".mp4")}
    assert {name.removeprefix(start): content for name, content in copied.items()} == local
    new_process()
    clip = Manifest.open(f"{COPIES}/manifest.parquet").clip(0)
    assert clip.path.startswith(COPIES)
    assert read_frames(clip.path, times_s=[0.0]).shape == (1, 16, 16, 3)
    assert [request for request in store.requests if request.startswith("PUT /bucket/copies")][-1].endswith("manifest.parquet")
    store.requests.clear()
    assert transcode(COPIES) == 0
    sent = [request.split("/")[-1] for request in store.requests if request.startswith("PUT")]
    assert sent == ["transcode.json", "manifest.parquet"]  # which were written again; no video was


def test_objects_of_others_are_not_mixed_with_an_output(store, capsys):
    store.objects["/bucket/copies/theirs"] = b""
    assert transcode(COPIES) == 1
    assert f"{COPIES}/theirs: exists and was not made by this command" in capsys.readouterr().err
    store.objects["/bucket/c.parquet"] = b""
    assert main(["curate", "s3://bucket/m.parquet", "--out", "s3://bucket/c.parquet", "--workers", "1"]) == 1
    assert "s3://bucket/c.parquet: exists" in capsys.readouterr().err
    store.objects["/bucket/d.parquet.output.json"] = b'{"output": "another"}'
    assert main(["curate", "s3://bucket/m.parquet", "--out", "s3://bucket/d.parquet", "--workers", "1"]) == 1
    assert "written by another command or machine" in capsys.readouterr().err


def test_a_curated_manifest_and_its_page_lie_side_by_side(store):
    assert main(["curate", "s3://bucket/m.parquet", "--out", "s3://bucket/c.parquet", "--workers", "1"]) == 0
    assert {"/bucket/c.parquet", "/bucket/c.html", "/bucket/c.parquet.output.json"} <= store.objects.keys()


def test_shards_of_objects_name_members_with_the_suffix_of_the_object(store, tmp_path):
    assert main(["shard", "s3://bucket/m.parquet", "--out", str(tmp_path / "shards"), "--workers", "1"]) == 0
    manifest = Manifest.open(tmp_path / "shards" / "manifest.parquet")
    assert all(str(member).endswith(".mp4") for member in manifest.column("member"))
    assert manifest.digest() == Manifest.open("s3://bucket/m.parquet").digest()


def test_a_manifest_of_files_is_not_uploaded(store, tmp_path, capsys):
    assert main(["index", str(tmp_path / "made"), "--out", "s3://bucket/local.parquet", "--workers", "1"]) == 1
    assert "a file of this machine, so it is not uploaded" in capsys.readouterr().err
    assert "/bucket/local.parquet" not in store.objects
    assert main(["index", "s3://bucket/videos", "--out", "https://host/m.parquet", "--workers", "1"]) == 1
    assert "outputs are written to folders of this machine, and to s3:// and gs://" in capsys.readouterr().err
