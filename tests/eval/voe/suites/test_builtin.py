from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.voe.pairs import QUADRUPLET
from eval.voe.suites import open_suite
from eval.voe.trials import TrialError, check_trials
from worldmodel.manifest import Manifest, write_manifest


def rows_of(folder: Path) -> list[dict]:
    return pq.read_table(folder / "quads.parquet").to_pylist()


def write_rows(folder: Path, rows: list[dict]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), folder / "quads.parquet")


def test_a_suite_of_another_world_says_so(physics_suite):
    rows = pa.Table.from_pylist(rows_of(physics_suite))
    assert open_suite(f"builtin:{physics_suite}").notes == ()
    pq.write_table(rows.replace_schema_metadata({"physics": '{"world": "lookaway"}'}), physics_suite / "quads.parquet")
    suite = open_suite(f"builtin:{physics_suite}")
    assert suite.notes == ("The videos show the world 'lookaway', not the built-in one.",)
    assert suite.source.endswith("--suite mini --world lookaway`")
    assert suite.magnitudes["inertia"] == "ratio of speeds"


def test_a_quadruplet_becomes_a_trial(physics_suite):
    suite = open_suite(f"builtin:{physics_suite}")
    assert suite.geometry == "center_crop"  # as in training
    check_trials(suite.trials)
    trial = suite.trials[0]
    assert [(video.context_id, video.outcome_id) for video in trial.videos] == list(QUADRUPLET)
    assert [video.label for video in trial.videos] == [True, True, False, False]
    assert [(video.fps, video.frames) for video in trial.videos] == [(12.0, 8)] * 4
    assert all(Path(video.path).is_file() for video in trial.videos)
    assert (trial.property, trial.visibility, trial.level, trial.copy_class) == ("permanence", "occluded", "1", "hard")
    assert (trial.splice_frame, trial.occluded_frames, trial.violation_frame, trial.reveal_frame, trial.magnitude) == (
        4,
        (3, 6),
        4,
        6,
        1.5,
    )
    assert trial.locked_cuts == (5, 7)  # the last two context frames are both hidden, in [3, 6)


def test_videos_of_a_pair_share_a_context_or_an_outcome(physics_suite):
    videos = open_suite(f"builtin:{physics_suite}").trials[0].videos
    for pair in open_suite(f"builtin:{physics_suite}").trials[0].pairs:
        one, other = videos[pair.possible], videos[pair.impossible]
        assert (one.context_id == other.context_id) == (pair.kind == "same context")
        assert (one.outcome_id == other.outcome_id) == (pair.kind == "same outcome")


def test_visible_videos_are_not_locked(physics_suite):
    trial = open_suite(f"builtin:{physics_suite}").trials[1]
    assert (trial.locked_cuts, trial.occluded_frames, trial.splice_frame, trial.spliced) == (None, None, None, False)


def test_calibration_videos_are_found_in_the_suite(physics_suite):
    assert open_suite(f"builtin:{physics_suite}").calibration == str(physics_suite / "calibration.parquet")
    (physics_suite / "calibration.parquet").rename(physics_suite / "lawful.parquet")  # the name in an earlier version
    assert open_suite(f"builtin:{physics_suite}").calibration == str(physics_suite / "lawful.parquet")
    (physics_suite / "lawful.parquet").unlink()
    assert open_suite(f"builtin:{physics_suite}").calibration is None


def test_a_missing_video_is_named(physics_suite):
    rows = [row for row in rows_of(physics_suite) if (row["context_id"], row["outcome_id"], row["spliced"]) != ("a", "v", True)]
    write_rows(physics_suite, rows)
    with pytest.raises(TrialError) as caught:
        open_suite(f"builtin:{physics_suite}")
    assert "permanence-occluded-test-0000, video a-v is missing in quads.parquet" in str(caught.value)
    assert "belongs to no quadruplet" in str(caught.value)


def test_a_video_that_the_manifest_lacks_is_named(physics_suite):
    manifest = Manifest.open(physics_suite / "suite.parquet")
    write_manifest(physics_suite / "suite.parquet", [manifest.clip(row) for row in range(7)], command="test", config={})
    with pytest.raises(TrialError, match=r"video b-v \(.*\) is missing in suite.parquet"):
        open_suite(f"builtin:{physics_suite}")


@pytest.mark.parametrize("label", [None, False])
def test_a_label_that_is_missing_or_contradicts_is_an_error(physics_suite, label):
    rows = rows_of(physics_suite)
    assert (rows[2]["context_id"], rows[2]["outcome_id"]) == ("a", "u")
    rows[2]["possible"] = label
    write_rows(physics_suite, rows)
    with pytest.raises(TrialError, match=f"video a-u must be possible; it is {label} in quads.parquet"):
        open_suite(f"builtin:{physics_suite}")


def test_the_manifest_must_agree_on_labels(physics_suite):
    manifest = Manifest.open(physics_suite / "suite.parquet")
    clips = [manifest.clip(row) for row in range(8)]
    clips[2] = replace(clips[2], label=None)
    write_manifest(physics_suite / "suite.parquet", clips, command="test", config={})
    with pytest.raises(TrialError, match=r"None in suite\.parquet"):
        open_suite(f"builtin:{physics_suite}")


def test_the_error_for_another_folder_says_how_to_make_a_suite(tmp_path):
    with pytest.raises(TrialError, match="data_prep synthesize"):
        open_suite(f"builtin:{tmp_path}")


def test_a_large_suite_opens_within_a_second(physics_suite):
    manifest, some = Manifest.open(physics_suite / "suite.parquet"), rows_of(physics_suite)
    clips = [manifest.clip(row) for row in range(8)]
    many = [replace(clip, clip_id=f"{clip.clip_id}-{n}") for n in range(700) for clip in clips]
    rows = [{**row, "quad_id": f"{row['quad_id']}-{n}", "clip_id": f"{row['clip_id']}-{n}"} for n in range(700) for row in some]
    write_manifest(physics_suite / "suite.parquet", many, command="test", config={})
    write_rows(physics_suite, rows)
    began = time.process_time()
    suite = open_suite(f"builtin:{physics_suite}")
    assert len(suite.trials) == 1400
    assert time.process_time() - began < 1.0
