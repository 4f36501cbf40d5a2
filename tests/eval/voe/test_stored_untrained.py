"""Results of an evaluation are used again, unless they are damaged or lack a video that can be read now."""

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import PartialState

from eval.plausibility.sliding_windows import default_plan
from eval.subject import Subject
from eval.voe.suites import Suite
from eval.voe.surprise.calibration import Calibration
from eval.voe.surprise.maps import write_maps
from eval.voe.surprise.task import VoeTask
from eval.voe.surprise.trace_files import write_model_traces, write_untrained_traces
from eval.voe.surprise.traces import read_table
from eval.voe.surprise.video_batches import unread_videos
from eval.voe.trials import Pair, Trial, Video
from worldmodel.video import write_video


@pytest.fixture
def task(tmp_path: Path, masked_model, monkeypatch) -> VoeTask:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    videos = tuple(_video(tmp_path, n) for n in range(4))
    trials = (Trial("group", videos, (Pair("matched", 0, 1), Pair("matched", 2, 3)), "gravity"),)
    suite = Suite("builtin", tmp_path, trials, "a test")
    subject = Subject("hf:test", "test", masked_model, None)
    return VoeTask(subject, suite, default_plan(masked_model, 8), "window", 16, torch.device("cpu"), PartialState())


def _video(folder: Path, number: int) -> Video:
    path = folder / f"{number}.mp4"
    write_video(path, np.random.default_rng(number).integers(0, 256, (10, 16, 16, 3), np.uint8), 12)
    return Video(f"video {number}", str(path), 12.0, 10, number % 2 == 0)


def scored(task: VoeTask, seed: int, calibration_videos=()) -> list[Path]:
    """Traces of an untrained network as an evaluation loads them, in a separate folder."""
    parts = task.suite.path / "parts"
    parts.mkdir(exist_ok=True)
    return write_untrained_traces(task, seed, calibration_videos, parts)


def in_cache(folder: Path) -> list[Path]:
    return sorted((folder / "cache").rglob("*.parquet"))


def videos_in(files: list[Path]) -> set[str]:
    return {name for file in files for name in read_table(file)["video_id"].to_pylist()}


def test_traces_made_while_a_video_was_missing_are_computed_again_once_it_is_back(task: VoeTask, tmp_path: Path):
    (tmp_path / "1.mp4").rename(tmp_path / "elsewhere")
    assert videos_in(scored(task, 0)) == {"video 0", "video 2", "video 3"}
    files = in_cache(tmp_path)
    modified = [file.stat().st_mtime_ns for file in files]
    scored(task, 0)
    assert [file.stat().st_mtime_ns for file in files] == modified  # it is still missing
    (tmp_path / "elsewhere").rename(tmp_path / "1.mp4")
    assert videos_in(scored(task, 0)) == {f"video {n}" for n in range(4)}


def test_a_calibration_made_while_a_video_was_missing_is_computed_again_once_it_is_back(task: VoeTask, tmp_path: Path):
    possible = [_video(tmp_path, number) for number in (10, 11, 12)]
    whole = [read_table(file) for file in scored(task, 1, possible)]
    for file in (tmp_path / "cache").rglob("*"):
        if file.is_file():
            file.unlink()
    (tmp_path / "12.mp4").rename(tmp_path / "elsewhere")
    fewer = [read_table(file) for file in scored(task, 1, possible)]
    assert fewer != whole
    (tmp_path / "elsewhere").rename(tmp_path / "12.mp4")
    assert [read_table(file) for file in scored(task, 1, possible)] == whole


def test_a_stored_file_that_was_cut_or_flipped_is_computed_again_with_a_message(task: VoeTask, tmp_path: Path, capsys):
    scored(task, 2)
    (file,) = in_cache(tmp_path)
    content = file.read_bytes()
    whole = read_table(file)
    for damaged in (content[:-10], content[:200] + bytes([content[200] ^ 1]) + content[201:], b""):
        file.write_bytes(damaged)
        capsys.readouterr()
        assert videos_in(scored(task, 2)) == {f"video {n}" for n in range(4)}
        assert f"{file} was damaged or changed since it was written; it is computed again" in capsys.readouterr().err
        assert read_table(file) == whole


def test_traces_of_an_evaluation_stay_when_another_one_removes_them_from_the_cache(task: VoeTask, tmp_path: Path):
    files = scored(task, 3)
    for file in in_cache(tmp_path):
        file.unlink()
    assert videos_in(files) == {f"video {n}" for n in range(4)}


@pytest.mark.parametrize("again", [False, True])
def test_a_resumed_evaluation_scores_a_video_that_can_be_read_again(task: VoeTask, tmp_path: Path, again: bool):
    parts = tmp_path / "parts"
    (tmp_path / "1.mp4").rename(tmp_path / "elsewhere")
    files, _ = write_model_traces(task, parts, ())
    assert videos_in(files) == {"video 0", "video 2", "video 3"}
    if again:
        (tmp_path / "elsewhere").rename(tmp_path / "1.mp4")
    videos = {f"video {n}" for n in range(4)} if again else {"video 0", "video 2", "video 3"}
    assert videos_in(write_model_traces(task, parts, ())[0]) == videos
    assert set(unread_videos(parts)) == {f"video {n}" for n in range(4)} - videos


def test_maps_that_are_missing_or_changed_are_computed_again(task: VoeTask, tmp_path: Path):
    maps, parts = tmp_path / "maps", tmp_path / "parts"
    parts.mkdir()

    def drawn() -> dict[str, bytes]:
        write_maps(task, maps, parts, task.suite.trials, Calibration())
        return {path.name: path.read_bytes() for path in maps.iterdir()}

    whole = drawn()
    assert len(whole) == 4
    first, second, *_ = sorted(maps.iterdir())
    modified = [path.stat().st_mtime_ns for path in (first, second)]
    assert drawn() == whole
    assert [path.stat().st_mtime_ns for path in (first, second)] == modified  # none was drawn again
    first.unlink()
    assert drawn() == whole
    second.write_bytes(b"changed")
    assert drawn() == whole
    for path in (*parts.iterdir(), *maps.iterdir()):
        path.unlink()
    (tmp_path / "1.mp4").rename(tmp_path / "elsewhere")
    assert len(drawn()) == 3
    assert len(drawn()) == 3
    (tmp_path / "elsewhere").rename(tmp_path / "1.mp4")
    assert drawn() == whole


def test_maps_are_computed_again_when_the_calibration_changes(task: VoeTask, tmp_path: Path):
    possible, parts = [_video(tmp_path, number) for number in (10, 11, 12)], tmp_path / "parts"
    (tmp_path / "12.mp4").rename(tmp_path / "elsewhere")
    _, calibration = write_model_traces(task, parts, possible)
    write_maps(task, tmp_path / "maps", parts, task.suite.trials, calibration)
    before = {path.name: path.read_bytes() for path in (tmp_path / "maps").iterdir()}
    (tmp_path / "elsewhere").rename(tmp_path / "12.mp4")
    _, calibration = write_model_traces(task, parts, possible)
    write_maps(task, tmp_path / "maps", parts, task.suite.trials, calibration)
    after = {path.name: path.read_bytes() for path in (tmp_path / "maps").iterdir()}
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)
