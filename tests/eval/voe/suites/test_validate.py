"""The problems that `python -m eval validate` finds, and its output."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.commands import validate
from eval.voe.suites import Count, open_suite
from eval.voe.trials import TrialError
from worldmodel.video import read_frames, write_video


def run(spec: str) -> int:
    parser = argparse.ArgumentParser()
    validate.add_arguments(parser)
    return validate.run(parser.parse_args([spec]))


def repaint(path: Path, frame: int, grey: int) -> None:
    frames = read_frames(path, indices=range(8))
    frames[frame] = grey
    write_video(path, frames, 12.0, lossless=True)


@pytest.fixture
def spliced(physics_suite) -> Path:
    return physics_suite / "clips" / "permanence-occluded-test-0000-av.mp4"


def test_a_whole_suite_passes(physics_suite, capsys):
    assert run(f"builtin:{physics_suite}") == 0
    output = capsys.readouterr()
    assert "2 trials, 8 videos" in output.out
    assert "8 of 8 videos" in output.out
    assert "1 spliced trials" in output.out
    assert "wrong" not in output.out
    assert "videos" in output.err  # the progress bar


@pytest.mark.parametrize(("frame", "where"), [(1, "context"), (4, "hidden"), (7, "outcome")])
def test_a_differing_frame_that_must_be_equal_is_found(physics_suite, spliced, frame, where, capsys):
    repaint(spliced, frame, 200)
    assert run(f"builtin:{physics_suite}") == 1
    output = capsys.readouterr().out
    assert f"differ at frame {frame}, where they must be equal" in output
    others = {"context": ["au"], "hidden": ["au", "bv", "bu"], "outcome": ["bv"]}[where]
    assert output.count("differ at frame") == len(others)
    for other in others:
        assert f"-{other}" in output


def test_frames_may_differ_where_contexts_and_outcomes_do(physics_suite):
    trial = open_suite(f"builtin:{physics_suite}").trials[0]
    videos = [read_frames(video.path, indices=[0, 7]) for video in trial.videos]
    assert not np.array_equal(videos[0], videos[1])
    assert validate.splice_errors(trial) == []


def test_a_video_that_cannot_be_decoded_is_found(physics_suite, spliced, capsys):
    spliced.write_bytes(spliced.read_bytes()[:200])
    assert run(f"builtin:{physics_suite}") == 1
    assert "permanence-occluded-test-0000-av" in capsys.readouterr().out


def test_a_video_that_is_shorter_than_listed_is_found(physics_suite, spliced, capsys):
    write_video(spliced, read_frames(spliced, indices=range(5)), 12.0, lossless=True)
    assert run(f"builtin:{physics_suite}") == 1
    assert "7 of 8 videos" in capsys.readouterr().out


def test_calibration_videos_belong_to_a_suite(physics_suite, capsys):
    (physics_suite / "calibration.parquet").unlink()
    assert run(f"builtin:{physics_suite}") == 1
    assert "calibration.parquet is missing" in capsys.readouterr().out


def test_an_incomplete_benchmark_does_not_pass(tmp_path, make_small_video, capsys):
    for prefix in ("P", "IP"):
        make_small_video(tmp_path / f"{prefix}_Gravity" / "000.mp4")
    assert run(f"grasp:{tmp_path}") == 1
    output = capsys.readouterr().out
    assert "1 of 2048" in output
    assert "pairs: 1 found, 2048 expected" in output
    assert "Google Drive" in output


def test_a_whole_published_benchmark_passes(tmp_path, make_small_video):
    for prefix in ("P", "IP"):
        make_small_video(tmp_path / f"{prefix}_Gravity" / "000.mp4")
    suite = replace(open_suite(f"grasp:{tmp_path}"), counts=(Count("pairs", 1, 1),))
    checks = validate.validate(suite)
    assert [check.problems for check in checks] == [()] * 4
    assert [check.what for check in checks] == ["layout", "one possible video per pair", "pairs", "first and last frame"]


def test_frames_of_folders_are_decoded_too(tmp_path, make_scene):
    videos = {video: ([1, int(video) // 3, int(video)], video in "13") for video in "1234"}
    for block in ("O1", "O2", "O3"):
        make_scene(tmp_path / "dev" / block / "01", videos)
    suite = open_suite(f"intphys:{tmp_path}")
    (tmp_path / "dev/O2/01/3/scene/scene_003.png").write_bytes(b"no picture")
    (broken,) = [check for check in validate.validate(suite) if check.what == "first and last frame"]
    assert broken.found == "11 of 12 videos"
    assert "O2__01__3" in broken.problems[0]


def test_secret_labels_pass(tmp_path, make_small_video):
    make_small_video(tmp_path / "HeldOut/Videos/aa.mp4")
    (check,) = [c for c in validate.validate(open_suite(f"intphys2:{tmp_path}")) if c.what == "one possible video per pair"]
    assert (check.found, check.problems) == ("labels are secret", ())


def test_many_problems_are_counted_after_the_first_twenty(tmp_path, make_small_video, capsys):
    for number in range(25):
        for prefix in ("P", "IP"):
            make_small_video(tmp_path / f"{prefix}_Gravity" / f"{number:03d}.mp4", frames=2)
    suite = open_suite(f"grasp:{tmp_path}")
    for video in (tmp_path / "P_Gravity").iterdir():
        video.unlink()
    (check,) = [c for c in validate.validate(suite) if c.what == "first and last frame"]
    assert len(check.problems) == 25
    validate.report(suite, [check])
    output = capsys.readouterr().out
    assert output.count("P_Gravity__") == 20
    assert "and 5 more" in output


def test_the_error_for_a_broken_layout_lists_all_problems(tmp_path):
    with pytest.raises(TrialError, match="The data come from"):
        run(f"inflevel:{tmp_path}")
