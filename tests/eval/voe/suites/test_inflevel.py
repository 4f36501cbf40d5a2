from __future__ import annotations

import csv
from pathlib import Path

import pytest

from eval.voe.suites import open_suite
from eval.voe.trials import TrialError, check_trials

COLUMNS = [
    f"vid{video}_{name}"
    for video in (1, 2)
    for name in ("path", "start_priming_1", "end_priming_1", "start_priming_2", "end_priming_2", "label")
]
CODES = {
    "continuity": (("vv", "vi"), ("ii", "iv")),
    "gravity": (("ui", "uv"), ("cv", "ci")),
    "solidity": (("ui", "uv"), ("cv", "ci")),
}
END_OF_PRIMING = 2


def name_of(prop: str, code: str, obj: str = "redball") -> str:
    return f"center__{prop}__bluecup__{obj}__{code}" + ("__LR" if prop == "continuity" else "")


def row_of(prop: str, possible: str, impossible: str) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "0")
    for video, code, label in ((1, possible, "possible"), (2, impossible, "impossible")):
        row[f"vid{video}_path"] = f"{prop}/{name_of(prop, code)}.mp4"
        row[f"vid{video}_label"] = label
        row[f"vid{video}_end_priming_2"] = str(END_OF_PRIMING)
    return row


def write_table(folder: Path, prop: str, rows: list[dict[str, str]]) -> None:
    with (folder / f"{prop}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def named(tmp_path, make_small_video) -> Path:
    """One scene a property; the second video of each pair is longer by a frame."""
    for prop, couples in CODES.items():
        for codes in couples:
            for longer, code in enumerate(codes):
                make_small_video(tmp_path / prop / f"{name_of(prop, code)}.mp4", frames=8 + longer, fps=30.0)
    return tmp_path


@pytest.fixture
def tables() -> dict[str, list[dict[str, str]]]:
    return {prop: [row_of(prop, *codes) for codes in couples] for prop, couples in CODES.items()}


@pytest.fixture
def paired(named, tables) -> Path:
    for prop, rows in tables.items():
        write_table(named, prop, rows)
    return named


def couples_of(trial) -> list[tuple[str, str]]:
    codes = [video.context_id + video.outcome_id for video in trial.videos]
    return [(codes[pair.possible], codes[pair.impossible]) for pair in trial.pairs]


def test_rows_are_pairs_and_a_scene_is_a_trial(paired):
    suite = open_suite(f"inflevel:{paired}")
    assert suite.geometry == "resize"  # the published protocol
    check_trials(suite.trials)
    assert {trial.property: couples_of(trial) for trial in suite.trials} == {
        prop: list(couples) for prop, couples in CODES.items()
    }
    assert suite.trials[0].group_id == "center__continuity__bluecup__redball__LR"
    assert suite.trials[0].videos[0].video_id == "center__continuity__bluecup__redball__vv__LR"
    assert {pair.kind for trial in suite.trials for pair in trial.pairs} == {"matched"}


def test_videos_begin_after_their_priming_and_end_together(paired):
    possible, impossible = open_suite(f"inflevel:{paired}").trials[1].videos[:2]
    assert (possible.start_frame, possible.frames, possible.fps) == (3, 5, 30.0)  # of 8
    assert (impossible.start_frame, impossible.frames) == (4, 5)  # of 9
    assert any("Without it" in note for note in open_suite(f"inflevel:{paired}").notes)


def test_priming_is_kept_on_request(paired):
    suite = open_suite(f"inflevel:{paired}?priming=yes")
    assert [(video.start_frame, video.frames) for video in suite.trials[1].videos[:2]] == [(0, 8), (1, 8)]
    assert open_suite(f"inflevel:{paired}?priming=no").trials == open_suite(f"inflevel:{paired}").trials
    assert suite.hash != open_suite(f"inflevel:{paired}").hash


def test_without_tables_videos_are_paired_by_code_and_a_note_says_so(named):
    suite = open_suite(f"inflevel:{named}")
    check_trials(suite.trials)
    assert couples_of(suite.trials[0]) == [("vv", "vi"), ("vv", "iv"), ("ii", "vi"), ("ii", "iv")]
    assert couples_of(suite.trials[1]) == [("ui", "uv"), ("ui", "ci"), ("cv", "uv"), ("cv", "ci")]
    assert {video.frames for trial in suite.trials for video in trial.videos} == {8}
    assert any("no pair CSV" in note for note in suite.notes)
    with pytest.raises(TrialError, match="they state where priming ends"):
        open_suite(f"inflevel:{named}?priming=no")


def test_without_tables_incomplete_scenes_are_left_out_and_counted(named, make_small_video):
    make_small_video(named / "gravity" / f"{name_of('gravity', 'ui', 'bluepen')}.mp4")
    suite = open_suite(f"inflevel:{named}")
    assert len(suite.trials) == 3
    assert any("1 scenes lack one of their four videos" in note for note in suite.notes)


def test_a_video_without_a_label_in_its_name_is_an_error(named, make_small_video):
    make_small_video(named / "solidity" / "center__solidity__bluecup__redball__xx.mp4")
    make_small_video(named / "gravity" / f"{name_of('gravity', 'vv')}.mp4")  # a code of continuity
    with pytest.raises(TrialError) as caught:
        open_suite(f"inflevel:{named}")
    assert "redball__xx.mp4: its name has no code" in str(caught.value)
    assert "redball__vv.mp4: its name has no code" in str(caught.value)


def test_all_problems_of_tables_are_reported_at_once(paired, tables):
    (paired / "continuity.csv").unlink()
    gravity, solidity = tables["gravity"], tables["solidity"]
    gravity[0]["vid1_label"] = ""
    gravity[1]["vid2_path"] = "../elsewhere.mp4"
    solidity[0]["vid1_end_priming_2"] = "-3"
    solidity[1]["vid2_path"] = "solidity/gone__solidity__bluecup__redball__ci.mp4"
    write_table(paired, "gravity", gravity)
    write_table(paired, "solidity", solidity)
    with pytest.raises(TrialError) as caught:
        open_suite(f"inflevel:{paired}")
    message = str(caught.value)
    assert "continuity.csv is missing, but others exist" in message
    assert "gravity.csv, line 2: vid1_label is ''" in message
    assert "gravity.csv, line 3: '../elsewhere.mp4' leads out of" in message
    assert "solidity.csv, line 2: vid1_end_priming_2 is '-3'" in message
    assert "solidity.csv, line 3: solidity/gone" in message


def test_two_possible_videos_in_a_pair_are_an_error(paired, tables):
    tables["gravity"][0]["vid2_path"], tables["gravity"][0]["vid2_label"] = tables["gravity"][1]["vid1_path"], "possible"
    write_table(paired, "gravity", tables["gravity"])
    with pytest.raises(TrialError, match=r"gravity.csv, line 2: its videos must be one possible and one impossible"):
        open_suite(f"inflevel:{paired}")


def test_a_label_that_contradicts_the_name_is_an_error(paired, tables):
    row = tables["solidity"][0]
    row["vid1_path"], row["vid2_path"] = row["vid2_path"], row["vid1_path"]
    write_table(paired, "solidity", tables["solidity"])
    with pytest.raises(TrialError, match="has label possible, which its code 'uv' contradicts"):
        open_suite(f"inflevel:{paired}")


def test_priming_that_leaves_nothing_is_an_error(paired, tables):
    tables["gravity"][0]["vid1_end_priming_2"] = "7"
    write_table(paired, "gravity", tables["gravity"])
    with pytest.raises(TrialError, match="fewer than 2 frames after its priming"):
        open_suite(f"inflevel:{paired}")


def test_counts_are_of_pairs_or_of_whole_scenes(named, tables):
    assert [(c.found, c.expected) for c in open_suite(f"inflevel:{named}").counts] == [(1, 540), (1, 591), (1, 225)]
    for prop, rows in tables.items():
        write_table(named, prop, rows)
    assert [(c.found, c.expected) for c in open_suite(f"inflevel:{named}").counts] == [(2, 1116), (2, 1182), (2, 450)]


def test_options_are_checked(named):
    with pytest.raises(TrialError, match="expected yes or no"):
        open_suite(f"inflevel:{named}?priming=maybe")
    with pytest.raises(TrialError, match="priming has no value"):
        open_suite(f"inflevel:{named}?priming")


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(TrialError, match="folder continuity is missing"):
        open_suite(f"inflevel:{tmp_path}")
