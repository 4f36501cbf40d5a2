"""Outputs at URLs are those of a folder, and never mix with other objects."""

import pytest
from made_clips import write_clips

from data_prep.__main__ import main
from data_prep.commands import curate, index
from data_prep.errors import PrepError
from data_prep.outputs.url_output import uploaded_output
from worldmodel.manifest import Manifest, write_manifest
from worldmodel.storage.cache import cache_folder
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


def test_markers_of_folders_are_no_objects_of_others(server):
    server.objects |= {"/bucket/copies/": b"", "/bucket/copies/sub/": b""}
    with uploaded_output(COPIES, "data_prep transcode", is_file=False) as out:
        out.mkdir()
        (out / "x").write_text("content")
    assert server.objects["/bucket/copies/x"] == b"content"


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


@pytest.mark.parametrize("emptied", [True, False])
def test_what_is_no_longer_at_the_url_is_uploaded_again(store, emptied):
    """Either all objects were removed, with output.json, or one video only."""
    assert transcode(COPIES) == 0
    first = {name: content for name, content in store.objects.items() if name.startswith("/bucket/copies/")}
    for name in list(first) if emptied else [next(name for name in first if name.endswith(".mp4"))]:
        del store.objects[name]
    assert transcode(COPIES) == 0
    again = {name for name in store.objects if name.startswith("/bucket/copies/")}
    assert again == first.keys()
    assert all(store.objects[name] == first[name] for name in again if name.endswith(".mp4"))


def test_a_curated_manifest_that_was_removed_with_its_note_is_uploaded_again(store):
    command = ["curate", "s3://bucket/m.parquet", "--out", "s3://bucket/c.parquet", "--workers", "1"]
    assert main(command) == 0
    written = {name for name in store.objects if name.startswith("/bucket/c.")}
    for name in written:
        del store.objects[name]
    assert main(command) == 0
    assert {name for name in store.objects if name.startswith("/bucket/c.")} == written


def upload(change) -> None:
    with uploaded_output("s3://bucket/out", "test", is_file=False) as out:
        change(out)


def rewrite(out, names) -> None:
    manifest = Manifest.open(out / "m.parquet")
    clips = [manifest.clip(row) for row in range(len(manifest))]
    write_manifest(out / "m.parquet", (clip for clip in clips if clip.path.endswith(names)), command="test", config={})


def test_a_video_is_removed_at_the_url_only_if_no_table_names_it(server):
    upload(lambda out: write_clips(out, 2))
    upload(lambda out: (out / "clips" / "000.mp4").unlink())  # to free disk
    assert {"/bucket/out/clips/000.mp4", "/bucket/out/clips/001.mp4"} <= server.objects.keys()
    upload(lambda out: rewrite(out, "001.mp4"))
    assert "/bucket/out/clips/000.mp4" not in server.objects
    assert "/bucket/out/clips/001.mp4" in server.objects
    server.requests.clear()
    upload(lambda out: None)
    assert not [request for request in server.requests if request.startswith(("PUT", "DELETE"))]  # the removal was recorded


def test_a_table_is_not_uploaded_without_the_files_that_it_names(server):
    upload(lambda out: write_clips(out, 2))
    server.objects.clear()
    with pytest.raises(PrepError, match=r"clips/000.mp4: a table names this file, but it was deleted"):
        upload(lambda out: (out / "clips" / "000.mp4").unlink())
    assert "/bucket/out/m.parquet" not in server.objects


def test_local_videos_are_refused_before_they_are_read_and_nothing_is_written_at_the_url(store, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise AssertionError("a video was read")

    monkeypatch.setattr(index, "inspect_item", fail)
    monkeypatch.setattr(curate, "analyse_video", fail)
    before = set(store.objects)
    for command, source in (("index", tmp_path / "made"), ("curate", tmp_path / "made" / "m.parquet")):
        assert main([command, str(source), "--out", "s3://bucket/local.parquet", "--workers", "1"]) == 1
        assert "a file of this machine, so it is not uploaded" in capsys.readouterr().err
    assert set(store.objects) == before


@pytest.mark.parametrize("url", ["https://host/m.parquet?sig=SECRET", "s3://me:SECRET@bucket/m.parquet"])
def test_a_secret_in_a_url_is_not_printed(url, tmp_path, capsys):
    for line in (["index", url, "--out", str(tmp_path / "m.parquet")], ["index", "s3://bucket/videos", "--out", url]):
        with pytest.raises(SystemExit, match="2"):
            main(line)
    printed = "".join(capsys.readouterr())
    assert printed.count("a URL must not hold a user name, a password or a query") == 2
    assert "SECRET" not in printed


@pytest.mark.parametrize("command", ["transcode", "curate"])
def test_an_input_with_a_secret_is_refused_before_the_lock_of_the_output_is_written(server, command, monkeypatch, capsys):
    line = [command, "https://me:SECRET@host/m.parquet", "--out", "s3://bucket/out"]
    monkeypatch.setattr("sys.argv", ["data_prep", *line])
    with pytest.raises(SystemExit, match="2"):
        main(line)
    printed = "".join(capsys.readouterr())
    assert "a URL must not hold a user name" in printed
    assert "SECRET" not in printed
    assert not server.requests
    assert not cache_folder().exists()
