from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from eval.voe.suites import open_suite
from eval.voe.trials import TrialError, check_trials

LONG = "0001_O1_test_visible_static_nobj1"
# videos 1 and 3 begin alike, and 2 and 4; all four share their first frame
QUADRUPLET = {
    "1": ([1, 5, 5, 5, 5, 8], True),
    "2": ([1, 9, 9, 9, 2, 2], False),
    "3": ([1, 5, 5, 5, 5, 5], False),
    "4": ([1, 9, 9, 9, 9, 9], True),
}
# 1 and 2, 3 and 4; video 2 shares more with 3 than 3 with 4
CATERPILLAR = {
    "1": ([1, 2, 3, 4, 5, 6], False),
    "2": ([1, 2, 3, 4, 5, 7], True),
    "3": ([1, 2, 3, 8, 8, 8], True),
    "4": ([1, 2, 9, 9, 9, 9], False),
}
SECRET = {video: (greys, None) for video, (greys, _) in QUADRUPLET.items()}


@pytest.fixture
def dev(tmp_path, make_scene) -> Path:
    """Four scenes, whose folders are not made in their order."""
    shuffled = {video: QUADRUPLET[video] for video in "4132"}
    make_scene(tmp_path / "dev/O3/01", shuffled)
    make_scene(tmp_path / "dev/O1/02", CATERPILLAR)
    make_scene(tmp_path / "dev/O1/01", shuffled)
    make_scene(tmp_path / "dev/O2/01", shuffled)
    return tmp_path


def pairs_of(trial) -> list[tuple[str, str]]:
    """(possible, impossible) videos."""
    return [(trial.videos[p.possible].video_id[-1], trial.videos[p.impossible].video_id[-1]) for p in trial.pairs]


def test_scenes_become_trials_in_a_fixed_order(dev):
    suite = open_suite(f"intphys:{dev}")
    assert suite.geometry == "resize"  # the published protocol
    check_trials(suite.trials)
    assert [(trial.group_id, trial.property) for trial in suite.trials] == [
        ("O1__01", "permanence"),
        ("O1__02", "permanence"),
        ("O2__01", "shape"),
        ("O3__01", "continuity"),
    ]
    assert [video.label for video in suite.trials[0].videos] == [True, False, False, True]
    assert {(video.fps, video.frames) for trial in suite.trials for video in trial.videos} == {(15.0, 6)}
    assert suite.trials == open_suite(f"intphys:{dev / 'dev'}").trials


def test_videos_that_begin_alike_are_pairs(dev):
    trials = open_suite(f"intphys:{dev}").trials
    assert pairs_of(trials[0]) == [("1", "3"), ("4", "2")]
    assert pairs_of(trials[1]) == [("2", "1"), ("3", "4")]
    assert {pair.kind for trial in trials for pair in trial.pairs} == {"same context"}
    assert [video.context_id for video in trials[0].videos] == ["a", "b", "a", "b"]


def test_equal_pictures_with_different_compression_are_equal(dev):
    video = dev / "dev/O1/01/3/scene"
    for path in video.glob("*.png"):
        with Image.open(path) as picture:
            before = path.read_bytes()
            picture.convert("RGB").save(path, compress_level=0)
            assert path.read_bytes() != before
    assert pairs_of(open_suite(f"intphys:{dev}").trials[0]) == [("1", "3"), ("4", "2")]


def test_a_table_of_pairs_replaces_the_search_for_pairs(dev):
    rows = ["Property;id;Video1;Label1;Video2;Label2"]
    for scene in ("O1;1", "O2;1", "O3;1"):
        rows += [f"{scene};0;1;1;0", f"{scene};2;0;3;1"]  # indices count from 0: videos 1 and 2, 3 and 4
    rows += ["O1;2;0;0;1;1", "O1;2;2;1;3;0"]
    (dev / "intphys_pairs.csv").write_text("\n".join(rows))
    suite = open_suite(f"intphys:{dev}")
    assert pairs_of(suite.trials[0]) == [("1", "2"), ("4", "3")]
    assert any("intphys_pairs.csv" in note for note in suite.notes)


def test_a_table_that_does_not_pair_all_videos_is_an_error(dev):
    (dev / "intphys_pairs.csv").write_text("Property;id;Video1;Label1;Video2;Label2\nO1;1;0;1;1;0\nO1;2;0;1;7;0\n")
    with pytest.raises(TrialError) as caught:
        open_suite(f"intphys:{dev}")
    assert "line 3: expected" in str(caught.value)
    for scene in ("O1/01", "O1/02", "O2/01", "O3/01"):
        assert f"{scene}: intphys_pairs.csv does not pair its four videos" in str(caught.value)


def test_missing_labels_are_errors_and_never_count_as_possible(dev):
    (dev / "dev/O1/01/2/status.json").unlink()
    (dev / "dev/O1/02/1/status.json").write_text(json.dumps({"header": {}}))
    (dev / "dev/O2/01/1/status.json").write_text("{")
    (dev / "dev/O3/01/4/status.json").write_text(json.dumps({"header": {"is_possible": "yes"}}))
    with pytest.raises(TrialError) as caught:
        open_suite(f"intphys:{dev}")
    message = str(caught.value)
    assert "O1/01/2 has no status.json" in message
    assert "O1/02/1/status.json has no header.is_possible" in message
    assert "O2/01/1/status.json has no header.is_possible" in message
    assert "O3/01/4/status.json: header.is_possible is 'yes'" in message
    assert message.startswith(f"{dev}: 4 problems")


def test_videos_and_frames_that_are_missing_are_named(dev):
    shutil.rmtree(dev / "dev/O1/01/3")
    (dev / "dev/O1/02/1/scene/scene_003.png").unlink()
    (dev / "dev/O2/01/4/scene/scene_006.png").unlink()
    shutil.rmtree(dev / "dev/O3")
    with pytest.raises(TrialError) as caught:
        open_suite(f"intphys:{dev}")
    message = str(caught.value)
    assert "O1/01 has no video 3" in message
    assert "O1/02/1 has 5 frames, the last one is scene_006.png: some are missing" in message
    assert "O2/01 has videos of 6, 6, 6, 5 frames" in message
    assert "dev has no folder O3" in message
    assert "download-intphys" in message


def test_two_possible_videos_in_a_pair_are_an_error(dev):
    (dev / "dev/O1/01/3/status.json").write_text(json.dumps({"header": {"is_possible": True}}))
    with pytest.raises(TrialError, match="O1/01: videos 1 and 3 are a pair, and both are possible"):
        open_suite(f"intphys:{dev}")


def test_videos_that_could_be_paired_in_two_ways_are_an_error(tmp_path, make_scene):
    same = {video: ([1, 1, 1, 1], video in "12") for video in "1234"}
    for block in ("O1", "O2", "O3"):
        make_scene(tmp_path / "dev" / block / "01", same)
    with pytest.raises(TrialError, match=r"several ways.*\n.*\n.*intphys_pairs.csv"):
        open_suite(f"intphys:{tmp_path}")


def test_videos_and_pairs_are_counted_against_the_published_numbers(dev):
    pairs, whole = open_suite(f"intphys:{dev}").counts
    assert (pairs.found, pairs.expected) == (8, 180)
    assert (whole.found, whole.expected) == (0, 16)  # none has 100 frames


# --- test set ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def test_set(tmp_path, make_scene) -> Path:
    make_scene(tmp_path / "test/O1" / LONG, SECRET)
    make_scene(tmp_path / "test/O2/0017", SECRET)
    make_scene(tmp_path / "test/O3/0002_O3_test_occluded_dynamic_2_nobj3", SECRET)
    return tmp_path


def test_names_of_the_test_set_state_visibility_and_level(test_set):
    trials = open_suite(f"intphys:{test_set}").trials
    assert [(t.property, t.visibility, t.level) for t in trials] == [
        ("permanence", "visible", "static_nobj1"),
        ("shape", "", ""),
        ("continuity", "occluded", "dynamic_2_nobj3"),
    ]
    assert trials[0].videos[2].video_id == f"O1__{LONG}__3"


def test_labels_of_the_test_set_are_secret(test_set):
    suite = open_suite(f"intphys:{test_set}")
    check_trials(suite.trials)
    assert all(video.label is None and not trial.pairs for trial in suite.trials for video in trial.videos)
    assert any("secret" in note for note in suite.notes)
    with pytest.raises(TrialError, match=r"no status\.json, so no label"):
        open_suite(f"intphys:{test_set / 'test'}?part=dev")


def test_task_txt_lists_the_long_names_of_short_folders(test_set):
    (test_set / "test/O1" / LONG).rename(test_set / "test/O1/0001")
    (test_set / "task.txt").write_text("".join(f"O1/{LONG}/{video}\n" for video in "1234"))
    trial = open_suite(f"intphys:{test_set}?part=test").trials[0]
    assert trial.visibility == "visible"
    assert trial.videos[0].video_id == f"O1__{LONG}__1"
    assert trial.videos[0].path == str(test_set / "test/O1/0001/1/scene")


def test_task_txt_that_names_other_videos_is_an_error(test_set):
    (test_set / "task.txt").write_text(f"O1/{LONG}/1\nO1/0009_O1_test_visible_static_nobj1/1\n../../etc/passwd\n")
    with pytest.raises(TrialError) as caught:
        open_suite(f"intphys:{test_set}")
    assert "O1/0009 is listed in task.txt, but is missing" in str(caught.value)
    assert "'../../etc/passwd' names no video" in str(caught.value)


def test_both_parts_can_lie_in_one_folder(dev, test_set):
    assert open_suite(f"intphys:{dev}").trials[0].videos[0].label is True
    assert open_suite(f"intphys:{dev}?part=test").trials[0].videos[0].label is None
    with pytest.raises(TrialError, match="expected one of dev, test"):
        open_suite(f"intphys:{dev}?part=train")


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(TrialError, match="no folder dev or test"):
        open_suite(f"intphys:{tmp_path}")
