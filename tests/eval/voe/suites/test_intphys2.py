from __future__ import annotations

import csv
from pathlib import Path

import pytest

from eval.voe.suites import open_suite
from eval.voe.trials import TrialError, check_trials

COLUMNS = ["SceneIndex", "name", "file_name", "game_name", "condition", "env", "type", "occluder", "Difficulty", "Camera"]
TYPES = ("2_Impossible", "1_Possible", "2_Possible", "1_Impossible")  # shuffled
SCENES = {"10": ("Solidity", "None"), "2": ("Permanence", "BasicLevel_0"), "3": ("Continuity", "DesertMap_0")}


def rows_of(scene: str, condition: str, env: str, rendering: str = "") -> list[dict[str, str]]:
    """Rows whose names do not sort in the order of their types."""
    return [
        {
            "SceneIndex": scene,
            "name": f"{index}f{scene}{rendering}",
            "file_name": f"Videos/{index}f{scene}{rendering}.mp4",
            "condition": condition,
            "env": env,
            "type": kind,
        }
        for index, kind in enumerate(TYPES)
    ]


def write_table(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="x")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def rows() -> list[dict[str, str]]:
    return [row for scene, (condition, env) in SCENES.items() for row in rows_of(scene, condition, env)]


@pytest.fixture
def main(tmp_path, make_small_video, rows) -> Path:
    for index, row in enumerate(rows):
        make_small_video(tmp_path / "Main" / row["file_name"], frames=5 + index % 4, fps=60.0)
    write_table(tmp_path / "Main", rows)
    return tmp_path


def test_scenes_become_trials_with_a_pair_a_run(main):
    suite = open_suite(f"intphys2:{main}")
    assert suite.geometry == "resize"  # the published protocol
    check_trials(suite.trials)
    assert [(t.group_id, t.property, t.level) for t in suite.trials] == [
        ("scene 2", "permanence", "Easy"),
        ("scene 3", "continuity", "Medium"),
        ("scene 10", "solidity", "Hard"),
    ]
    trial = suite.trials[0]
    couples = [(trial.videos[p.possible].video_id, trial.videos[p.impossible].video_id) for p in trial.pairs]
    assert couples == [("1f2", "3f2"), ("2f2", "0f2")]
    assert {pair.kind for pair in trial.pairs} == {"matched"}
    assert suite.trials == open_suite(f"intphys2:{main / 'Main'}").trials


def test_videos_keep_their_own_lengths(main):
    videos = {video.video_id: video for trial in open_suite(f"intphys2:{main}").trials for video in trial.videos}
    assert [videos[f"{index}f2"].frames for index in range(4)] == [5, 6, 7, 8]
    assert {video.fps for video in videos.values()} == {60.0}


def test_file_names_without_their_folder_are_found(main, rows):
    for row in rows:
        row["file_name"] = Path(row["file_name"]).name
    write_table(main / "Main", rows)
    assert len(open_suite(f"intphys2:{main}").trials) == 3


def test_missing_labels_and_tables_are_errors(main, rows):
    rows[0]["type"] = ""
    rows[5]["type"] = "1_Maybe"
    write_table(main / "Main", rows)
    with pytest.raises(TrialError) as caught:
        open_suite(f"intphys2:{main}")
    assert "line 2 (Videos/0f10.mp4): type '' is no label" in str(caught.value)
    assert "type '1_Maybe' is no label" in str(caught.value)
    (main / "Main/metadata.csv").unlink()
    with pytest.raises(TrialError, match="without it no video of Main has a label"):
        open_suite(f"intphys2:{main}")


def test_two_possible_videos_in_a_pair_are_an_error(main, rows):
    assert rows[3]["type"] == "1_Impossible"
    rows[3]["type"] = "1_Possible"
    write_table(main / "Main", rows)
    with pytest.raises(TrialError, match="scene 10 has 2 1_Possible, 0 1_Impossible, 1 2_Possible, 1 2_Impossible"):
        open_suite(f"intphys2:{main}")


def test_missing_and_broken_videos_are_all_named(main, rows):
    (main / "Main/Videos/1f2.mp4").unlink()
    (main / "Main/Videos/2f3.mp4").write_bytes(b"")
    with pytest.raises(TrialError) as caught:
        open_suite(f"intphys2:{main}")
    assert "Videos/1f2.mp4 is missing" in str(caught.value)
    assert "2f3.mp4" in str(caught.value)


@pytest.mark.parametrize("name", ["../HeldOut/Videos/x.mp4", "/etc/passwd", "Videos/../../x.mp4"])
def test_a_table_cannot_name_videos_elsewhere(main, rows, name):
    rows[0]["file_name"] = name
    write_table(main / "Main", rows)
    with pytest.raises(TrialError, match="leads out of"):
        open_suite(f"intphys2:{main}")


def test_main_is_counted_against_506_pairs(main):
    (count,) = open_suite(f"intphys2:{main}").counts
    assert (count.found, count.expected) == (6, 506)


def test_debug_has_several_renderings_of_a_video(tmp_path, make_small_video):
    rows = [row for rendering in "abc" for row in rows_of("1", "Permanence", "BasicLevel_0", rendering)]
    for row in rows:
        make_small_video(tmp_path / "Debug" / row["file_name"])
    write_table(tmp_path / "Debug", rows)
    (trial,) = open_suite(f"intphys2:{tmp_path}").trials
    check_trials([trial])
    assert len(trial.pairs) == 6
    assert all(trial.videos[p.possible].video_id[3:] == trial.videos[p.impossible].video_id[3:] for p in trial.pairs)
    write_table(tmp_path / "Debug", rows[:-1])
    with pytest.raises(TrialError, match="expected as many of each"):
        open_suite(f"intphys2:{tmp_path}")


def test_labels_of_held_out_are_secret(main, make_small_video):
    for name in ("bb", "aa"):
        make_small_video(main / f"HeldOut/Videos/{name}.mp4", frames=7)
    suite = open_suite(f"intphys2:{main}?part=HeldOut")
    check_trials(suite.trials)
    assert [(t.videos[0].video_id, t.videos[0].label, t.videos[0].frames, t.pairs) for t in suite.trials] == [
        ("aa", None, 7, ()),
        ("bb", None, 7, ()),
    ]
    assert any("secret" in note for note in suite.notes)
    assert open_suite(f"intphys2:{main / 'HeldOut'}").trials == suite.trials
    assert open_suite(f"intphys2:{main}").trials[0].videos[0].label is True


def test_an_unknown_part_is_refused(main):
    with pytest.raises(TrialError, match="expected one of Main, HeldOut, Debug"):
        open_suite(f"intphys2:{main}?part=main")
