"""`python -m data_prep quadruplets`: from a folder to a suite that `eval voe` opens, resumable, held-out videos only."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep.__main__ import main
from data_prep.splicing import jobs
from data_prep.splicing.config import hidden_frames_at
from data_prep.splicing.sampling import NoQuadrupletError
from eval.voe.suites import open_suite
from eval.voe.surprise.windows import WindowPlan
from eval.voe.trials import read_video
from tests.support.made_scenes import scene
from worldmodel.data.window_config import WindowConfig
from worldmodel.data.windows import WindowSource
from worldmodel.manifest import Manifest, ManifestError
from worldmodel.video import write_video

OPTIONS = ["--quadruplets", "1", "--size-px", "32", "--frames", "12", "--workers", "1"]
FPS = 10


def make(videos: Path, out: Path, *options: str) -> int:
    return main(["quadruplets", str(videos), "--out", str(out), *OPTIONS, *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.mp4")}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """One video, whose held-out fifth, 6 s, is long enough to be divided."""
    folder = tmp_path_factory.mktemp("videos") / "videos"
    folder.mkdir()
    write_video(folder / "one.mp4", scene(300, seed=7), FPS)
    return folder


@pytest.fixture(scope="module")
def suite(videos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("suite") / "suite"
    assert make(videos, out) == 0
    return out


def test_eval_opens_the_suite_and_its_videos_share_frames_exactly(suite):
    opened = open_suite(f"builtin:{suite}")
    assert {trial.property for trial in opened.trials} == {"other_stretch", "time_reversed", "frozen", "part_mirrored"}
    assert opened.calibration is not None
    assert all(trial.spliced for trial in opened.trials)
    for trial in opened.trials[:4]:
        au, bv, av, bu = (read_video(video, FPS, 32) for video in trial.videos)
        cut = trial.splice_frame
        assert np.array_equal(av, np.concatenate([au[:cut], bv[cut:]]))
        assert np.array_equal(bu, np.concatenate([bv[:cut], au[cut:]]))


def test_locked_windows_exist_where_the_picture_is_blank(suite):
    for trial in open_suite(f"builtin:{suite}").trials:
        assert (trial.locked_cuts is not None) == (trial.visibility == "occluded")


def test_only_held_out_frames_are_used(videos, tmp_path, monkeypatch):
    """The test takes the last two thirds of the held-out fifth, and calibration its first third."""
    found: dict[str, list[float]] = {"test": [], "val": [], "calibration": []}
    real = jobs.sample_quadruplet

    def recorded(clips, splice, visibility, config, *key):
        sample = real(clips, splice, visibility, config, *key)
        found[key[2]].append(sample.start_s)
        return sample

    monkeypatch.setattr(jobs, "sample_quadruplet", recorded)
    assert make(videos, tmp_path / "out", "--properties", "frozen") == 0
    middle_s = 24 + 6 / 3
    assert min(found["test"]) >= middle_s
    assert all(24 <= start_s < middle_s for kind in ("val", "calibration") for start_s in found[kind])


def test_an_interrupted_run_resumes_to_the_same_bytes(videos, suite, tmp_path, monkeypatch):
    out, real, made = tmp_path / "cut", jobs.write_video, []

    def stopped_at_the_sixth(path, *args, **kwargs):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(path)
        real(path, *args, **kwargs)

    monkeypatch.setattr(jobs, "write_video", stopped_at_the_sixth)
    assert make(videos, out) == 130
    assert not (out / "suite.parquet").exists()
    monkeypatch.setattr(jobs, "write_video", real)
    assert make(videos, out) == 0
    assert contents(out) == contents(suite)
    assert pq.read_table(out / "quads.parquet").equals(pq.read_table(suite / "quads.parquet"))


def test_videos_that_were_deleted_are_made_again(videos, tmp_path):
    out = tmp_path / "out"
    assert make(videos, out, "--properties", "frozen") == 0
    before = contents(out)
    path = out / Manifest.open(out / "suite.parquet").column("path")[0]
    path.unlink()
    assert make(videos, out, "--properties", "frozen") == 0
    assert contents(out) == before


def test_another_seed_in_the_same_folder_is_refused(videos, suite, capsys):
    assert make(videos, suite, "--seed", "1") == 1
    assert "seed is 0 there and 1 now" in capsys.readouterr().err


def test_nothing_can_be_trained_on_a_suite(suite):
    with pytest.raises(ManifestError, match="benchmark"):
        WindowSource(Manifest.open(suite / "suite.parquet"), "val", WindowConfig(frames=8, fps=FPS, size_px=32))


def test_videos_that_are_too_short_are_reported_in_one_line(tmp_path, capsys):
    (tmp_path / "short").mkdir()
    write_video(tmp_path / "short" / "one.mp4", scene(30), FPS)
    assert make(tmp_path / "short", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "no quadruplet could be made for the test" in error
    assert "no clip is as long as" in error


def test_the_configuration_says_where_the_stretches_come_from(suite):
    config = json.loads((suite / "suite.json").read_text())
    assert config["world"] == "spliced"
    assert len(config["source"]) == 16


def test_a_suite_without_quadruplets_for_the_test_is_an_error(videos, tmp_path, monkeypatch, capsys):
    real = jobs.sample_quadruplet

    def not_for_the_test(clips, splice, visibility, config, *key):
        if key[2] == "test" and key[-1] == 0:
            raise NoQuadrupletError("nothing moves")
        return real(clips, splice, visibility, config, *key)

    monkeypatch.setattr(jobs, "sample_quadruplet", not_for_the_test)
    assert make(videos, tmp_path / "out", "--properties", "frozen") == 1
    error = capsys.readouterr().err
    assert "no quadruplet could be made for the test" in error
    assert "nothing moves" in error
    assert not (tmp_path / "out" / "suite.parquet").exists()


def test_a_single_video_is_refused(videos, tmp_path, capsys):
    assert make(videos / "one.mp4", tmp_path / "out") == 1
    assert "one.mp4: a video; give the folder that it is in" in capsys.readouterr().err


def test_a_property_that_is_named_twice_is_made_once(videos, tmp_path):
    assert make(videos, tmp_path / "out", "--properties", "frozen,frozen") == 0
    assert json.loads((tmp_path / "out" / "suite.json").read_text())["properties"] == ["frozen"]


def test_the_blank_lasts_at_least_four_frames_and_two_fifths_of_a_second():
    assert [hidden_frames_at(fps) for fps in (1, 5, 10, 15, 30, 60)] == [4, 4, 4, 6, 12, 24]


@pytest.mark.parametrize("fps", [10, 24, 30, 60])
def test_a_model_of_10_fps_has_locked_windows_at_every_rate_of_the_suite(fps):
    hidden = hidden_frames_at(fps)
    plan = WindowPlan(10.0, 16, 2, (4,), 8, 1, 16)
    for context in range(hidden, 2 * hidden):
        assert plan.locked((context + 2, context + hidden + 1), fps, 16)


def test_videos_that_are_too_short_for_the_blank_are_refused_with_a_length_that_is_enough(videos, tmp_path, capsys):
    assert make(videos, tmp_path / "out", "--fps", "30", "--frames", "35") == 1
    assert "--frames 35 at --fps 30: 12 frames are blank" in (error := capsys.readouterr().err)
    assert "give --frames 36 or more" in error
    assert not (tmp_path / "out").exists()
