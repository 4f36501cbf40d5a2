"""WebDataset tars: labels by key, videos read by offset, and nothing unpickled."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.sources import SkippedFiles, webdataset
from worldmodel.manifest import Manifest
from worldmodel.video import read_frames


class RunsCode:
    """An object whose pickle would write a file when it is opened."""

    def __reduce__(self):
        return open, ("opened", "w")


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def video(tmp_path, numbered, make_video):
    def of(first: int) -> bytes:
        return make_video(tmp_path / "made" / f"{first}.mp4", numbered(12, first=first)).read_bytes()

    return of


def test_a_shard_is_indexed_and_read_in_place(tmp_path, video, number_of):
    members = [
        ("a/000.cls", b"7"),
        ("a/000.mp4", video(30)),
        ("a/000.json", json.dumps({"label": "not used", "fps": 10}).encode()),
        ("a/001.json", json.dumps({"label": "high jump"}).encode()),
        ("a/001.mp4", video(60)),
        ("a/002.mp4", video(90)),
        ("a/002.txt", b"a cup falls\n"),
        ("a/003.mp4", video(120)),
    ]
    write_tar(tmp_path / "set" / "train" / "000000.tar", members)
    write_tar(tmp_path / "set" / "val" / "000000.tar", [("b.mp4", video(150)), ("b.cls", b"3")])
    out = tmp_path / "m.parquet"
    assert main(["index", str(tmp_path / "set"), "--source", "webdataset", "--out", str(out), "--workers", "1"]) == 0
    manifest = Manifest.open(out)
    clips = [manifest.clip(row) for row in range(len(manifest))]
    assert [(clip.member, clip.label, clip.split) for clip in clips] == [
        ("a/000.mp4", "7", "train"),
        ("a/001.mp4", "high jump", "train"),
        ("a/002.mp4", "a cup falls", "train"),
        ("a/003.mp4", None, "train"),
        ("b.mp4", "3", "val"),
    ]
    numbers = [number_of(read_frames(clip.path, member=clip.member, times_s=[0.0])[0]) for clip in clips]
    assert numbers == [30, 60, 90, 120, 150]
    assert sorted(path.name for path in (tmp_path / "set").rglob("*") if path.is_file()) == ["000000.tar", "000000.tar"]


def test_pickled_members_are_refused_by_name_and_never_opened(tmp_path):
    import pickle

    content = pickle.dumps(RunsCode())
    tar = write_tar(tmp_path / "x.tar", [("0.mp4", b"v"), ("0.pyd", content), ("0.pickle", content), ("0.cls", b"1")])
    items = list(webdataset.find(tar, SkippedFiles()))
    assert [(item.member, item.label, item.problem) for item in items] == [
        ("0.mp4", "1", None),
        ("0.pyd", None, "pickled member"),
        ("0.pickle", None, "pickled member"),
    ]
    assert "can run any code" in str(items[1].detail)
    assert not Path("opened").exists()


@pytest.mark.parametrize("name", ["/etc/0.mp4", "../0.mp4", "a/../../0.mp4", "a\\..\\0.mp4"])
def test_names_that_would_leave_the_folder_are_refused(tmp_path, name):
    (item,) = webdataset.find(write_tar(tmp_path / "x.tar", [(name, b"v")]), SkippedFiles())
    assert item.problem == "invalid member name"


def test_labels_that_do_not_parse_are_counted_and_the_next_kind_is_used(tmp_path):
    members = [("0.mp4", b"v"), ("0.json", b"{"), ("0.txt", b"jump"), ("1.mp4", b"w")]
    members += [("1.cls", b"\xff"), ("1.json", b'{"x": 1}')]
    skipped = SkippedFiles()
    items = list(webdataset.find(write_tar(tmp_path / "x.tar", members), skipped))
    assert [item.label for item in items] == ["jump", None]
    count, first = skipped.remarks["labels that cannot be parsed"]
    assert count == 2
    assert first.startswith(f"{tmp_path / 'x.tar'}::0.json")


def test_a_damaged_tar_is_an_item_with_a_problem_after_its_intact_members(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("0.mp4", b"v" * 2000), ("1.mp4", b"w" * 2000)])
    path.write_bytes(path.read_bytes()[:3500])
    problems = [item.problem for item in webdataset.find(path, SkippedFiles())]
    assert problems == [None, "damaged tar"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train/0.tar", "train"),
        ("validation/a/0.tar", "val"),
        ("val-000.tar", "val"),
        ("test_01.tar", "test"),
        ("x-0.tar", None),
    ],
)
def test_the_split_is_in_the_name_of_the_folder_or_of_the_shard(tmp_path, name, split):
    write_tar(tmp_path / "set" / name, [("0.mp4", b"v")])
    (item,) = webdataset.find(tmp_path / "set", SkippedFiles())
    assert item.split == split


def test_a_tar_that_is_given_by_name_is_recognised(tmp_path, video):
    tar = write_tar(tmp_path / "x.tar", [("0.mp4", video(0)), ("0.cls", b"5")])
    assert main(["index", str(tar), "--out", str(tmp_path / "m.parquet"), "--workers", "1"]) == 0
    assert set(np.unique(Manifest.open(tmp_path / "m.parquet").column("label"))) == {"5"}


def test_of_members_with_one_name_none_is_used_because_only_the_last_could_be_read(tmp_path):
    members = [("0.mp4", b"old"), ("0.cls", b"1"), ("1.mp4", b"v"), ("1.cls", b"2"), ("0.mp4", b"new"), ("0.cls", b"3")]
    items = list(webdataset.find(write_tar(tmp_path / "x.tar", members), SkippedFiles()))
    assert [(item.member, item.label, item.problem) for item in items] == [
        ("0.mp4", None, "repeated member"),
        ("1.mp4", "2", None),
        ("0.mp4", None, "repeated member"),
    ]


def test_labels_that_do_not_lie_beside_their_video_are_counted(tmp_path):
    skipped = SkippedFiles()
    members = [("0.mp4", b"v"), ("1.mp4", b"w"), ("0.cls", b"1"), ("1.cls", b"2")]
    items = list(webdataset.find(write_tar(tmp_path / "x.tar", members), skipped))
    assert [item.label for item in items] == [None, None]
    assert "labels that do not lie beside their video in the tar, so they are not used: 2" in " ".join(skipped.lines(tmp_path))
