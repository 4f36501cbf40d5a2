"""`python -m worldmodel.rollout` as a user runs it: videos, a curve, a gallery, and one-line errors."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from worldmodel.video import inspect_video, read_frames


def rollout(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worldmodel.rollout", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory, train_once) -> Path:
    """A short run with no decoder of its own."""
    return train_once(tmp_path_factory.mktemp("rollout"), "train.max_steps=10")


def test_videos_strip_and_curve_are_written_and_a_missing_decoder_is_trained(run: Path):
    without = rollout(run, "--count", 1, "--no-decoder", "--out", run.parent / "without")
    assert without.returncode == 0, without.stderr
    page = (run.parent / "without" / "gallery.html").read_text()
    assert "No decoder: predictions cannot be drawn as frames; the nearest training frame is shown instead" in page
    assert "prediction (decoded)" not in page
    done = rollout(run, "--count", 1, "--samples", 2)
    assert done.returncode == 0, done.stderr
    page = (run / "rollouts" / "gallery.html").read_text()
    assert {"prediction (decoded)", "nearest training frame", "continuation 2"} == {
        panel for panel in ("prediction (decoded)", "nearest training frame", "continuation 2", "No decoder") if panel in page
    }
    assert "among 288 latent steps of 24 of 24 training windows" in page
    assert "training one on the frozen latents" in done.stdout
    info = inspect_video(run / "rollouts" / "held_out_0.mp4")
    assert info.frames == 12
    assert {path.suffix for path in (run / "rollouts").iterdir() if not path.name.startswith(".")} == {
        ".mp4",
        ".gif",
        ".png",
        ".json",
        ".html",
    }
    again = rollout(run, "--count", 1)
    assert "training one" not in again.stdout  # it was stored


def test_the_curve_contains_its_baselines_and_starts_with_the_error_of_one_step(run: Path):
    assert rollout(run, "--count", 1).returncode == 0
    curve = json.loads((run / "rollouts" / "horizon.json").read_text())
    assert set(curve["error"]) == {"rollout", "direct", "copy", "mean"}
    assert len(curve["horizons_s"]) == 12 - 4
    assert curve["error"]["direct"][4:] == [None] * 4  # the model forecasts four steps directly
    assert curve["error"]["rollout"][0] == pytest.approx(curve["error"]["direct"][0], rel=1e-4)
    assert all(math.isfinite(value) for value in curve["error"]["copy"])


def test_a_given_video_may_be_longer_than_the_window(run: Path, videos: Path, tmp_path: Path):
    video = next(videos.parent.glob("*.mp4"))
    done = rollout(run, "--clip", video, "--context-s", 0.5, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    shown = read_frames(tmp_path / "out" / f"{video.stem}_rollout.mp4", indices=[0])
    assert shown.shape[2] > 4 * 256  # four panels side by side


def test_two_clips_of_one_name_become_two_videos_beside_a_file_of_the_user(run: Path, videos: Path, tmp_path: Path):
    one, two = sorted(videos.parent.glob("*.mp4"))[:2]
    for folder, video in (("monday", one), ("tuesday", two), ("out", one)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").write_bytes(video.read_bytes())
    clips = [tmp_path / folder / "clip.mp4" for folder in ("monday", "tuesday", "out")]
    for _ in range(2):  # the second time it replaces its own files
        done = rollout(run, "--no-decoder", "--clip", *clips, "--out", tmp_path / "out")
        assert done.returncode == 0, done.stderr
    names = {f"{folder}_clip_rollout.mp4" for folder in ("monday", "tuesday", "out")}
    assert {path.name for path in (tmp_path / "out").glob("*.mp4")} == {"clip.mp4", *names}
    assert clips[2].read_bytes() == one.read_bytes()


def test_a_file_of_the_user_is_not_overwritten(run: Path, tmp_path: Path):
    (tmp_path / "gallery.html").write_text("mine")
    done = rollout(run, "--no-decoder", "--count", 1, "--out", tmp_path)
    assert done.returncode == 2
    assert "gallery.html would be overwritten" in done.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("gallery.html", "mine")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clip", "nowhere.mp4"], "nowhere.mp4"),
        (["--context-s", "5"], "is not possible"),
        (["--start-s", "1.1", "--clip", "VIDEO"], "less than two latent steps"),
    ],
)
def test_an_impossible_rollout_is_reported_in_one_line(run: Path, videos: Path, arguments: list[str], message: str):
    video = str(next(videos.parent.glob("*.mp4")))
    done = rollout(run, *(video if a == "VIDEO" else a for a in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    done = rollout(tmp_path)
    assert done.returncode == 2
    assert "neither a run folder nor a checkpoint" in done.stderr
