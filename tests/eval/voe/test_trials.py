"""Trials of videos that belong together: stored, checked, and read at another rate."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from eval.voe.trials import Pair, Trial, TrialError, Video, check_trials, read_trials, read_video, write_trials
from worldmodel.video import write_video


def video(name: str, label: bool | None) -> Video:
    return Video(name, f"{name}.mp4", 10.0, 8, label)


def trial(name: str = "t", labels: tuple[bool | None, ...] = (True, False), pairs: tuple[Pair, ...] = ()) -> Trial:
    videos = tuple(video(f"{name}{index}", label) for index, label in enumerate(labels))
    return Trial(name, videos, pairs or (Pair("matched", 0, 1),), "gravity")


def test_trials_are_read_as_they_were_written(tmp_path):
    full = Trial(
        "q",
        (Video("f", "f.mp4", 29.97, 8, None, "a", "u", 3),),
        (Pair("same outcome", 0, 0),),
        "shape",
        "val",
        "occluded",
        "2",
        "hard",
        1.5,
        True,
        locked_cuts=(5, 7),
        splice_frame=4,
        occluded_frames=(3, 6),
        violation_frame=4,
        reveal_frame=6,
        known_defect="leaks",
    )
    write_trials(tmp_path / "trials.json", [full, trial()])
    assert read_trials(tmp_path / "trials.json") == [full, trial()]
    assert [path.name for path in tmp_path.iterdir()] == ["trials.json"]


def test_a_pair_has_one_possible_and_one_impossible_video():
    check_trials([trial("a"), trial("b")])
    for labels in ((True, True), (False, True), (None, False), (True, None)):
        with pytest.raises(TrialError, match="one possible and one impossible"):
            check_trials([trial("a"), trial("b", labels)])


def test_videos_without_labels_have_no_pairs():
    check_trials([Trial("t", (video("x", None),), (), "secret")])


def test_names_occur_once():
    with pytest.raises(TrialError, match="two trials of this name"):
        check_trials([trial("a"), trial("a")])
    same = Trial("b", (video("a0", True), video("b1", False)), (Pair("matched", 0, 1),), "gravity")
    with pytest.raises(TrialError, match="two videos named a0"):
        check_trials([trial("a"), same])


def test_the_first_problem_is_named_and_the_others_counted():
    wrong = [trial(name, (True, True)) for name in "abc"]
    with pytest.raises(TrialError, match=r"^a: .*\(and 2 more like it\)$"):
        check_trials(wrong)


def greys_of(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 10) for frame in frames]


def ramp(frames: int) -> np.ndarray:
    return (np.arange(frames, dtype=np.uint8) * 10)[:, None, None, None] * np.ones((1, 16, 32, 3), np.uint8)


def test_a_video_is_read_at_a_rate_from_its_start_on(tmp_path):
    path = tmp_path / "f.mp4"
    write_video(path, ramp(20), 30.0, lossless=True)
    assert greys_of(read_video(Video("f", str(path), 30.0, 20, True), 6.0, 8)) == [0, 5, 10, 15]
    primed = Video("f", str(path), 30.0, 13, True, start_frame=7)
    assert greys_of(read_video(primed, 30.0, 8)) == list(range(7, 20))
    assert greys_of(read_video(primed, 6.0, 8)) == [7, 12, 17]
    assert read_video(primed, 6.0, 8).shape == (3, 8, 8, 3)  # not square before
    part = Video("f", str(path), 24.0, 8, True, start_s=10 / 30)  # of a file whose average rate does not give its frames
    assert greys_of(read_video(part, 6.0, 8)) == [10, 15]


def test_the_key_of_a_video_without_a_start_time_is_that_of_earlier_versions():
    assert "start_s" not in Video("f", "f.mp4", 30.0, 20, True, start_frame=7).as_key()
    assert Video("f", "f.mp4", 30.0, 20, True, start_s=0.3).as_key()["start_s"] == 0.3


def test_a_folder_of_frames_is_read_at_its_rate(tmp_path):
    for number, frame in enumerate(ramp(8), 1):
        Image.fromarray(frame).save(tmp_path / f"scene_{number:03d}.png")
    video = Video("f", str(tmp_path), 15.0, 8, True)
    assert greys_of(read_video(video, 7.5, 8)) == [0, 2, 4, 6]
    assert greys_of(read_video(video, 15.0, 8)) == list(range(8))


def test_only_the_rectangle_of_a_cropped_video_is_read(tmp_path):
    path = tmp_path / "f.mp4"
    frames = np.zeros((8, 32, 32, 3), np.uint8)
    frames[:, 8:24] = 200  # a letterbox
    write_video(path, frames, 30.0, lossless=True)
    whole = Video("f", str(path), 30.0, 8, True)
    cropped = Video("f", str(path), 30.0, 8, True, crop="0 0.25 1 0.75")
    assert read_video(whole, 30.0, 16)[:, 0].max() < 100 < 190 < read_video(cropped, 30.0, 16).min()
    assert "crop" not in whole.as_key()  # keys of files of earlier versions
    assert cropped.as_key() == {**whole.as_key(), "crop": "0 0.25 1 0.75"}
