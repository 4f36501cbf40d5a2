"""No command of data_prep overwrites files of other origin."""

import json

import pytest
from PIL import Image

from data_prep.__main__ import main
from worldmodel.manifest import Manifest


@pytest.fixture
def videos(tmp_path, numbered, make_video):
    make_video(tmp_path / "videos" / "a.mp4", numbered(30))
    return tmp_path / "videos"


@pytest.fixture
def indexed(tmp_path, videos):
    assert index(videos, tmp_path / "m.parquet") == 0
    return tmp_path / "m.parquet"


def index(root, out):
    return main(["index", str(root), "--out", str(out), "--workers", "1"])


def transcode(manifest, out):
    return main(["transcode", str(manifest), "--out", str(out), "--workers", "1"])


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refuses(capsys, folder, command, *words):
    """Assert that a command fails with one line and changes no file of the folder."""
    before = files_of(folder)
    capsys.readouterr()
    assert command() == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors
    assert files_of(folder) == before


def test_index_overwrites_only_manifests_of_index(tmp_path, videos, indexed, capsys):
    notes = tmp_path / "notes.parquet"
    notes.write_text("mine")
    refuses(capsys, tmp_path, lambda: index(videos, notes), "is not a manifest", "give another file as --out")
    assert transcode(indexed, tmp_path / "small") == 0
    copies = tmp_path / "small" / "manifest.parquet"
    refuses(capsys, tmp_path, lambda: index(videos, copies), "made by python -m data_prep transcode")
    listing = tmp_path / "n.parquet.rejected.jsonl"
    listing.write_text("mine\n")
    refuses(capsys, tmp_path, lambda: index(videos, tmp_path / "n.parquet"), str(listing))
    listing.rename(tmp_path / "n.parquet.part.jsonl")
    refuses(capsys, tmp_path, lambda: index(videos, tmp_path / "n.parquet"), "n.parquet.part.jsonl")


def test_index_may_overwrite_its_own_manifest(tmp_path, videos, indexed, numbered, make_video):
    make_video(videos / "b.mp4", numbered(30, first=7))
    (videos / "bad.mp4").touch()
    assert index(videos, indexed) == 0
    assert index(videos, indexed) == 0  # over its list of rejected files, too
    assert len(Manifest.open(indexed)) == 4


def test_a_link_is_not_replaced_by_a_file(tmp_path, videos, indexed, capsys):
    link = tmp_path / "link.parquet"
    link.symlink_to(indexed)
    refuses(capsys, tmp_path, lambda: index(videos, link), "is a symbolic link")
    assert link.is_symlink()
    assert transcode(link, tmp_path / "small") == 0  # reading through a link is fine
    picture = tmp_path / "sheet.png"
    picture.symlink_to(tmp_path / "nowhere.png")
    refuses(capsys, tmp_path, lambda: main(["show", str(indexed), "--out", str(picture)]), "is a symbolic link")
    assert not (tmp_path / "nowhere.png").exists()


def test_copies_never_replace_the_manifest_of_their_sources(tmp_path, videos, capsys):
    (tmp_path / "data").mkdir()
    manifest = tmp_path / "data" / "manifest.parquet"
    assert index(videos, manifest) == 0
    refuses(capsys, tmp_path, lambda: transcode(manifest, manifest.parent), "would replace it", "choose another --out")
    (tmp_path / "link").symlink_to(manifest.parent)
    refuses(capsys, tmp_path, lambda: transcode(manifest, tmp_path / "link"), "would replace it")
    copy = tmp_path / "m.parquet"
    copy.write_bytes(manifest.read_bytes())
    refuses(capsys, tmp_path, lambda: transcode(copy, manifest.parent), "made by python -m data_prep index")


def test_copies_are_not_written_to_a_folder_with_other_videos(tmp_path, videos, indexed, capsys):
    """The next index would skip the folder, with the user's videos in it."""
    refuses(capsys, tmp_path, lambda: transcode(indexed, videos), "holds videos", "a.mp4")
    refuses(capsys, tmp_path, lambda: transcode(indexed, tmp_path), "holds videos")
    refuses(capsys, tmp_path, lambda: main(["synthesize", str(tmp_path), "--train", "2", "--workers", "1"]), "holds videos")
    assert transcode(indexed, tmp_path / "small") == 0
    assert transcode(indexed, tmp_path / "small") == 0


def test_copies_of_an_earlier_version_are_not_mixed_in(tmp_path, indexed, capsys):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "transcode.json").write_text(json.dumps({"short_side_px": 80, "max_fps": None, "gop": 12}))
    refuses(capsys, tmp_path, lambda: transcode(indexed, tmp_path / "small"), "an earlier version", "choose another --out")
    (tmp_path / "small" / "transcode.json").write_text("my notes")
    refuses(capsys, tmp_path, lambda: transcode(indexed, tmp_path / "small"), "not a note of `data_prep transcode`")


@pytest.mark.parametrize("name", ["train.parquet", "train.json"])
def test_synthesize_replaces_no_table_of_other_origin(tmp_path, capsys, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    command = ["synthesize", str(tmp_path / "out"), "--train", "2", "--size-px", "32", "--workers", "1"]
    refuses(capsys, tmp_path, lambda: main(command), name, "choose another folder")


def test_a_sheet_replaces_a_sheet_and_no_other_image(tmp_path, indexed, capsys):
    photo, sheet = tmp_path / "photo.png", tmp_path / "sheets" / "a.png"
    Image.new("RGB", (8, 8)).save(photo)
    refuses(capsys, tmp_path, lambda: main(["show", str(indexed), "--out", str(photo)]), "is not a sheet")
    for _ in range(2):
        assert main(["show", str(indexed), "--out", str(sheet)]) == 0
