"""`transcode`, `curate` and `quadruplets` of a manifest at a URL make what they make of the same files on a disk."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.splicing import jobs
from eval.voe.suites import open_suite
from eval.voe.trials import TrialError
from tests.support.made_scenes import scene
from worldmodel.manifest import Manifest
from worldmodel.storage.errors import StorageError
from worldmodel.storage.urls import split_version
from worldmodel.video import write_video

MANIFEST = "s3://bucket/m.parquet"
OPTIONS = {
    "transcode": ["--short-side-px", "32", "--gop", "4"],
    "curate": [],
    "quadruplets": ["--quadruplets", "1", "--size-px", "32", "--frames", "12", "--properties", "frozen"],
}


@pytest.fixture
def manifest(server, tmp_path, in_this_process) -> Path:
    """A manifest of a video on a disk; the same video and its manifest lie in the store."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "one.mp4", scene(300, seed=7), 10)
    server.objects["/bucket/videos/one.mp4"] = (tmp_path / "videos" / "one.mp4").read_bytes()
    for root, name in (("s3://bucket/videos", "remote"), (tmp_path / "videos", "m")):
        assert main(["index", str(root), "--out", str(tmp_path / f"{name}.parquet"), "--workers", "1"]) == 0
    server.objects["/bucket/m.parquet"] = (tmp_path / "remote.parquet").read_bytes()
    return tmp_path / "m.parquet"


def run(command: str, manifest: Path | str, out: Path | str) -> int:
    return main([command, str(manifest), *OPTIONS[command], "--out", str(out), "--workers", "1"])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.mp4")}


def clips(path: Path) -> list:
    manifest = Manifest.open(path)
    found = [manifest.clip(row) for row in range(len(manifest))]
    return [replace(clip, path=Path(split_version(clip.path)[0]).name) for clip in found]


def test_copies_are_equal(manifest, tmp_path):
    assert run("transcode", manifest, tmp_path / "local") == run("transcode", MANIFEST, tmp_path / "remote") == 0
    assert contents(tmp_path / "local") == contents(tmp_path / "remote")
    assert clips(tmp_path / "local" / "manifest.parquet") == clips(tmp_path / "remote" / "manifest.parquet")


def test_stretches_are_equal(manifest, tmp_path):
    assert run("curate", manifest, tmp_path / "local.parquet") == run("curate", MANIFEST, tmp_path / "there.parquet") == 0
    assert clips(tmp_path / "local.parquet") == clips(tmp_path / "there.parquet")


def test_suites_are_equal_and_are_opened_at_a_url(manifest, tmp_path, server, capsys):
    assert run("quadruplets", manifest, tmp_path / "local") == run("quadruplets", MANIFEST, tmp_path / "remote") == 0
    assert contents(tmp_path / "local") == contents(tmp_path / "remote")
    for path in (tmp_path / "remote").rglob("*"):
        if path.is_file():
            server.objects[f"/bucket/suite/{path.relative_to(tmp_path / 'remote').as_posix()}"] = path.read_bytes()
    here, there = open_suite(f"builtin:{tmp_path / 'local'}"), open_suite("builtin:s3://bucket/suite")
    assert there.path.name == "suite"
    assert names(here) == names(there)
    assert Path(there.trials[0].videos[0].path).read_bytes() == Path(here.trials[0].videos[0].path).read_bytes()
    with pytest.raises(TrialError, match="there are no objects below this URL"):
        open_suite("builtin:s3://bucket/other")


@pytest.mark.parametrize("below", ["", "/clips"])
def test_a_folder_of_copies_at_a_url_is_refused(manifest, tmp_path, server, capsys, below):
    """Its split is that of its manifest; the content of the copies would give another one."""
    assert run("transcode", manifest, tmp_path / "small") == 0
    for path in (tmp_path / "small").rglob("*.*"):
        server.objects[f"/bucket/sets/small/{path.relative_to(tmp_path / 'small').as_posix()}"] = path.read_bytes()
    assert run("quadruplets", f"s3://bucket/sets/small{below}", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "s3://bucket/sets/small: filled by" in error
    assert "data_prep transcode`, so its files do not tell which videos are held out; give the manifest" in error


def names(suite) -> list:
    return [replace(trial, videos=tuple(Path(video.path).name for video in trial.videos)) for trial in suite.trials]


def test_an_object_that_cannot_be_read_ends_the_making_of_quadruplets(manifest, tmp_path, server, new_process, capsys):
    """Another stretch in its place would be another suite."""
    new_process()
    server.objects["/bucket/videos/one.mp4"] += b"more"
    assert run("quadruplets", MANIFEST, tmp_path / "out") == 1
    assert "s3://bucket/videos/one.mp4" in (error := capsys.readouterr().err)
    assert "the object was changed" in error
    assert "otherwise make the manifest again, and give another --out" in error
    assert "resumes from here" not in error


def test_a_store_that_does_not_answer_ends_the_making_of_quadruplets_with_the_advice_to_resume(
    manifest, tmp_path, monkeypatch, capsys
):
    def fail(*_):
        raise StorageError("s3://bucket/videos/one.mp4", "HTTP 503", store="s3://bucket", unreachable=True)

    monkeypatch.setattr(jobs, "sample_quadruplet", fail)
    assert run("quadruplets", manifest, tmp_path / "out") == 1
    assert "HTTP 503; the same command resumes from here" in capsys.readouterr().err
