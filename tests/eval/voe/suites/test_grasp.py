from __future__ import annotations

import pytest

from eval.voe.suites import open_suite
from eval.voe.suites.grasp import TESTS
from eval.voe.trials import TrialError, check_trials


@pytest.fixture
def grasp(tmp_path, make_small_video):
    for test in ("Collision", "Unchangeableness2"):
        for number in (1, 0):
            make_small_video(tmp_path / "level2" / f"P_{test}" / f"{number:03d}.mp4", frames=6, fps=50.0)
            make_small_video(tmp_path / "level2" / f"IP_{test}" / f"{number:03d}.mp4", frames=8, fps=50.0)
    return tmp_path


def test_videos_with_one_number_are_a_pair(grasp):
    suite = open_suite(f"grasp:{grasp}")
    assert suite.geometry == "resize"  # the published protocol
    assert suite.trials == open_suite(f"grasp:{grasp / 'level2'}").trials
    assert [trial.group_id for trial in suite.trials] == [
        "Collision__000",
        "Collision__001",
        "Unchangeableness2__000",
        "Unchangeableness2__001",
    ]
    check_trials(suite.trials)
    videos = suite.trials[0].videos
    assert [(video.video_id, video.label, video.fps, video.frames) for video in videos] == [
        ("P_Collision__000", True, 50.0, 6),
        ("IP_Collision__000", False, 50.0, 8),
    ]
    assert {pair.kind for trial in suite.trials for pair in trial.pairs} == {"matched"}


def test_the_test_is_the_property_and_the_colour_defect_is_noted(grasp):
    trials = open_suite(f"grasp:{grasp}").trials
    assert {trial.property: bool(trial.known_defect) for trial in trials} == {"Collision": False, "Unchangeableness2": True}
    assert len(TESTS) == 16


def test_a_note_says_that_the_benchmark_is_incomplete(grasp):
    suite = open_suite(f"grasp:{grasp}")
    (count,) = suite.counts
    assert (count.found, count.expected, count.complete) == (4, 2048, False)
    assert any("4 pairs of 2048" in note for note in suite.notes)


def test_a_video_without_its_partner_is_an_error(grasp):
    (grasp / "level2/P_Collision/001.mp4").unlink()
    (grasp / "level2/IP_Unchangeableness2/000.mp4").unlink()
    with pytest.raises(TrialError) as caught:
        open_suite(f"grasp:{grasp}")
    assert "P_Collision/001.mp4 is missing" in str(caught.value)
    assert "IP_Unchangeableness2/000.mp4 is missing" in str(caught.value)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(TrialError, match="no folder P_Collision, nor of any other of the 16 tests"):
        open_suite(f"grasp:{tmp_path}")


def test_the_suite_has_the_published_protocol(grasp):
    protocol = open_suite(f"grasp:{grasp}").protocol
    assert (protocol.fps, protocol.window_frames, protocol.stride_frames) == (5.0, 16, 2)
