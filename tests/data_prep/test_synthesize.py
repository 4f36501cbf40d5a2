"""`python -m data_prep synthesize`: the same bytes however the work is shared, and errors in one line."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.physics import jobs, quadruplets
from worldmodel.manifest import Manifest

TRAIN = ["--train", "6", "--size-px", "32"]


def make(folder: Path, *options: str) -> int:
    return main(["synthesize", str(folder), *TRAIN, "--workers", "1", *options])


def contents(folder: Path) -> dict[str, bytes]:
    """The content of every video and ground-truth file, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.suffix in (".mp4", ".npz")}


def rows(folder: Path) -> list[tuple]:
    manifest = Manifest.open(folder / "train.parquet")
    return [(clip.clip_id, clip.split, clip.label, clip.content_hash) for clip in map(manifest.clip, range(len(manifest)))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "videos"
    assert make(folder) == 0
    return folder


def test_any_number_of_workers_makes_the_same_bytes(whole, tmp_path):
    assert make(tmp_path / "two", "--workers", "2") == 0
    assert contents(tmp_path / "two") == contents(whole)
    assert rows(tmp_path / "two") == rows(whole)


def test_shards_make_the_same_videos_and_the_last_writes_the_table(whole, tmp_path):
    folder = tmp_path / "shards"
    assert make(folder, "--shard", "1/2") == 0
    assert not (folder / "train.parquet").exists()
    assert make(folder, "--shard", "0/2") == 0
    assert contents(folder) == contents(whole)
    assert rows(folder) == rows(whole)


def test_shards_of_another_world_make_the_same_suite(tmp_path):
    suite = ["--world", "flat", "--suite", "nano", "--properties", "gravity,colour", "--size-px", "32", "--workers", "1"]
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    assert main(["synthesize", str(whole), *suite]) == 0
    for shard in ("1/2", "0/2"):
        assert main(["synthesize", str(shared), *suite, "--shard", shard]) == 0
    assert contents(shared) == contents(whole)
    assert len(contents(whole)) == 2 * (2 * 3 * 4 + 8)  # 3 quadruplets a property, none in plain sight; 8 for calibration
    config = json.loads((whole / "suite.json").read_text())
    assert (config["world"], config["mujoco"]) == ("flat", "")
    assert "--world flat" in Manifest.open(whole / "suite.parquet").metadata["command"]


def test_an_interrupted_run_resumes_to_the_same_bytes(whole, tmp_path, monkeypatch):
    folder, real, made = tmp_path / "cut", jobs.write_video, []

    def stopped_at_the_third(path, *args, **kwargs):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(path)
        real(path, *args, **kwargs)

    monkeypatch.setattr(jobs, "write_video", stopped_at_the_third)
    assert make(folder) == 130
    assert not (folder / "train.parquet").exists()
    monkeypatch.setattr(jobs, "write_video", real)
    journal = folder / ".making" / "train.0-of-1.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"clips": [')  # as a kill in the middle of a line would leave it
    assert make(folder) == 0
    assert contents(folder) == contents(whole)
    assert rows(folder) == rows(whole)


def test_videos_that_were_deleted_are_made_again_to_the_same_bytes(whole, tmp_path, capsys):
    folder = tmp_path / "deleted"
    shutil.copytree(whole, folder)
    manifest = Manifest.open(folder / "train.parquet")
    (folder / "train.parquet").unlink()
    Path(manifest.clip(2).path).unlink()
    Path(manifest.clip(4).truth).unlink()
    assert make(folder) == 0
    assert contents(folder) == contents(whole)
    assert rows(folder) == rows(whole)
    assert "line 3 is damaged, or its videos were deleted; 4 finished jobs run again" in capsys.readouterr().err
    assert make(folder) == 0
    assert "run again" not in capsys.readouterr().err


def test_a_damaged_line_of_the_journal_is_made_again(whole, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    journal = folder / ".making" / "train.0-of-1.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:4], b"{}\n", lines[5]]))
    assert make(folder) == 0
    assert journal.read_bytes() == b"".join(lines)
    assert rows(folder) == rows(whole)


def test_no_shard_writes_the_table_while_a_video_of_another_shard_is_missing(whole, tmp_path, capsys):
    folder = tmp_path / "shards"
    assert make(folder, "--shard", "0/2") == make(folder, "--shard", "1/2") == 0
    Path(Manifest.open(folder / "train.parquet").clip(3).path).unlink()  # of shard 1
    (folder / "train.parquet").unlink()
    assert make(folder, "--shard", "0/2") == 0
    assert "shard 0/2 is finished; the last shard to finish writes the table" in capsys.readouterr().out
    assert not (folder / "train.parquet").exists()
    assert make(folder, "--shard", "1/2") == 0
    assert contents(folder) == contents(whole)
    assert rows(folder) == rows(whole)


def test_a_full_disk_is_reported_in_one_line_and_no_table_is_written(whole, tmp_path, monkeypatch, capsys):
    folder, real = tmp_path / "full", jobs.write_video

    def full(path, *args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(jobs, "write_video", full)
    assert make(folder) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "data_prep" in line]
    assert len(errors) == 1
    assert "No space left on device" in errors[0]
    assert not (folder / "train.parquet").exists()
    assert not list(folder.rglob("*.part"))
    monkeypatch.setattr(jobs, "write_video", real)
    assert make(folder) == 0
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fps", "59"], "the events need 1.2 s"),
        (["--suite", "nano", "--properties", "weight"], "weight is not among permanence"),
        (["--suite", "nano", "--properties", ""], "--properties: '' is not among permanence"),
        (["--quadruplets", "50"], "--quadruplets is about the videos of a suite; give --suite mini"),
        (["--quadruplets", "0"], "--quadruplets is about the videos of a suite; give --suite mini"),
        (["--unseen", "9"], "--unseen is about the videos of a suite; give --suite mini"),
        (["--properties", "colour"], "--properties is about the videos of a suite; give --suite mini"),
        (
            ["--train", "0", "--suite", "nano", "--randomised-looks", "0.9"],
            "--randomised-looks is about videos for training; give --train 3000 too, or leave it out",
        ),
        (
            ["--world", "memory", "--frames", "18"],
            "18 frames at 12 fps are 1.50 s; train videos of the world memory need 1.60 s; give --frames 20 or more",
        ),
        (
            ["--world", "memory", "--frames", "38", "--suite", "small"],
            "38 frames at 12 fps are 3.17 s; quadruplets 1_for_2_s of the world memory need 3.22 s; give --frames 39 or more",
        ),
    ],
)
def test_a_bad_argument_is_reported_in_one_line(tmp_path, capsys, options, message):
    assert main(["synthesize", str(tmp_path / "x"), *TRAIN, *options]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("options", [["--size-px", "7"], ["--frames", "3"], ["--fps", "nan"], ["--workers", "0"]])
def test_a_number_out_of_range_is_named_with_the_range(tmp_path, capsys, options):
    with pytest.raises(SystemExit):
        main(["synthesize", str(tmp_path / "x"), *TRAIN, *options])
    assert f"argument {options[0]}: {options[1]}: expected" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "2/2"], "expected R/W with R from 0 to W-1"),
        (["--world", "mars"], "mars: expected one of builtin"),
        (["--world", "2"], "machines share the work with --shard R/2"),  # what these two flags meant before
        (["--rank", "1"], "expected --shard R/W instead of --rank R --world W"),
    ],
)
def test_a_wrong_world_or_shard_is_refused_with_what_is_expected(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        main(["synthesize", str(tmp_path / "x"), *TRAIN, *options])
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_made_is_reported_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert make(tmp_path / "file" / "videos") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert make(tmp_path / "file") == 1
    assert capsys.readouterr().err == f"data_prep synthesize: {tmp_path / 'file'} is a file; OUT must be a folder\n"


def test_another_configuration_in_the_same_folder_is_refused(whole, capsys):
    assert make(whole, "--seed", "5") == 1
    assert "seed is 0 there and 5 now" in capsys.readouterr().err


def test_a_folder_of_another_world_is_refused(whole, capsys):
    assert make(whole, "--world", "flat") == 1
    assert "world is 'builtin' there and 'flat' now" in capsys.readouterr().err


def test_a_folder_of_a_version_without_worlds_is_one_of_the_built_in_world(whole, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    config = json.loads((whole / "train.json").read_text())
    del config["world"]
    (folder / "train.json").write_text(json.dumps(config))
    assert make(folder) == 0
    assert contents(folder) == contents(whole)


def test_configuration_and_versions_are_recorded_with_the_videos(whole):
    config = json.loads((whole / "train.json").read_text())
    assert {"seed", "size_px", "frames", "fps", "generator", "mujoco", "numpy"} <= set(config)
    metadata = Manifest.open(whole / "train.parquet").metadata
    assert metadata["config"] == config
    assert "--train 6" in metadata["command"]


def test_file_names_do_not_reveal_the_content(whole):
    for path in whole.rglob("*.mp4"):
        int(path.stem, 16)


def test_levels_that_a_world_does_not_have_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quadruplets, "MAX_ATTEMPTS", 2)
    options = ["--suite", "full", "--world", "dynamics", "--frames", "16"]  # too short, so that nothing is generated
    assert main(["synthesize", str(tmp_path / "out"), *options, "--size-px", "32", "--workers", "1"]) == 1
    said = capsys.readouterr()
    assert "quadruplets of the world dynamics have levels 1 and 2 only; others are left out" in said.out
    assert "16 frames" in said.err


def test_a_suite_without_quadruplets_is_refused_before_the_folder_is_made(tmp_path, capsys):
    options = ["--world", "flat", "--suite", "nano", "--quadruplets", "0"]
    assert main(["synthesize", str(tmp_path / "out"), *options]) == 1
    assert "--suite nano has no quadruplets with these options; give --quadruplets 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_property_that_is_named_twice_is_made_once(tmp_path):
    options = ["--suite", "nano", "--quadruplets", "1", "--size-px", "32", "--workers", "1", "--world", "flat"]
    assert main(["synthesize", str(tmp_path / "out"), *options, "--properties", "colour,colour"]) == 0
    assert len(Manifest.open(tmp_path / "out" / "suite.parquet")) == 4
