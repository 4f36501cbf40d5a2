"""LeRobotDataset v2.1 and v3.0 on miniatures in their exact layout: frames and actions belong together."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_lerobot import CAMERA, MadeEpisode, features_of, rows_of, write_info, write_table, write_v2, write_v3

from data_prep.__main__ import main
from worldmodel.manifest import Manifest
from worldmodel.signals import action_blocks, read_signals, states_at
from worldmodel.video import read_frames, write_video

FPS, LENGTHS, NAMES = 10, (5, 3, 4), ("shoulder", "elbow")


def value(episode: int, frame: int) -> int:
    """The grey level of a frame, which is also its first action."""
    return 20 * (episode + 1) + 3 * frame


def made(episode: int, length: int, same_start: bool = False) -> MadeEpisode:
    levels = np.array([value(episode, frame) for frame in range(length)])
    frames = np.broadcast_to(levels.astype(np.uint8)[:, None, None, None], (length, 16, 16, 3))
    number = np.full(length, 0.0 if same_start else float(episode))
    return MadeEpisode(frames, np.stack([levels, np.ones(length)], 1).astype(float), np.stack([number, np.arange(length)], 1))


EPISODES = [made(episode, length) for episode, length in enumerate(LENGTHS)]
FEATURES = features_of(EPISODES[0], NAMES)


def make_v3(root: Path) -> Path:
    """Episodes 0 and 1 in one video, 2 in another one; 0 in one data file, 1 and 2 in another one."""
    return write_v3(root, EPISODES, FPS, NAMES, data_files=(0, 1, 1), video_files=(0, 0, 1))


def make_v2(root: Path) -> Path:
    return write_v2(root, EPISODES, FPS, NAMES)


def convert(root: Path, out: Path, *options: str) -> int:
    return main(["episodes", str(root), "--out", str(out), "--workers", "1", *options])


def clips_of(out: Path) -> list:
    manifest = Manifest.open(out / "episodes.parquet")
    return [manifest.clip(row) for row in range(len(manifest))]


@pytest.mark.parametrize("make", [make_v2, make_v3])
def test_every_frame_has_its_own_action_and_state(make, tmp_path: Path):
    """The grey level of a frame is its action, also where several episodes share a file."""
    assert convert(make(tmp_path / "robot"), tmp_path / "out") == 0
    clips = clips_of(tmp_path / "out")
    assert [clip.frames for clip in clips] == list(LENGTHS)
    for episode, clip in enumerate(clips):
        times = clip.start_s + np.arange(clip.frames) / clip.fps
        signals = read_signals(clip.signals)
        levels = read_frames(clip.path, times_s=times)[:, 0, 0, 0].tolist()
        assert levels == [value(episode, frame) for frame in range(LENGTHS[episode])]
        assert action_blocks(signals, times)[:, 0, 0].tolist() == levels[:-1]
        assert states_at(signals, times).tolist() == [[episode, frame] for frame in range(LENGTHS[episode])]
        assert signals.action.names == signals.state.names == ("shoulder", "elbow")
        assert (clip.label, clip.source) == ("push", "robot")
    assert len({clip.clip_id for clip in clips}) == 3


def test_a_snapshot_in_the_cache_of_the_hub_is_read(tmp_path: Path):
    """Its files are links to blobs, whose names have no suffix, in a folder beside it."""
    root, snapshot, blobs = make_v3(tmp_path / "robot"), tmp_path / "hub/snapshots/main", tmp_path / "hub/blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
        link = snapshot / file.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        file.rename(blobs / str(number))
        link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
    assert convert(snapshot, tmp_path / "out") == 0
    clip = clips_of(tmp_path / "out")[1]
    assert read_frames(clip.path, times_s=[clip.start_s])[0, 0, 0, 0] == value(1, 0)


def test_links_that_lead_elsewhere_are_refused(tmp_path: Path, capsys):
    root, elsewhere = make_v3(tmp_path / "robot"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in sorted(root.rglob("*.mp4")):
        file.rename(elsewhere / file.name)
        file.symlink_to(elsewhere / file.name)
    assert convert(root, tmp_path / "out") != 0
    assert "is not below the folder of the data set" in capsys.readouterr().err


def test_several_steps_between_frames_give_all_their_actions(tmp_path: Path):
    convert(make_v3(tmp_path / "robot"), tmp_path / "out")
    clip = clips_of(tmp_path / "out")[1]
    blocks = action_blocks(read_signals(clip.signals), [clip.start_s, clip.start_s + 2 / FPS])
    assert blocks[..., 0].tolist() == [[value(1, 0), value(1, 1)]]


def test_broken_episodes_are_named_and_the_others_are_used(tmp_path: Path, capsys):
    root = make_v2(tmp_path / "robot")
    (root / f"videos/chunk-000/{CAMERA}/episode_000001.mp4").unlink()
    write_table(
        root / "data/chunk-000/episode_000002.parquet", {name: values[:3] for name, values in rows_of(EPISODES, 2, FPS).items()}
    )
    assert convert(root, tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "1 of 3 episodes" in shown
    assert f"episode 1: there is no videos/chunk-000/{CAMERA}/episode_000001.mp4" in shown
    assert "episode 2: data/chunk-000/episode_000002.parquet has 3 rows of it; the metadata says 4" in shown


def test_a_video_that_ends_early_is_named(tmp_path: Path, capsys):
    root = make_v2(tmp_path / "robot")
    write_video(root / f"videos/chunk-000/{CAMERA}/episode_000000.mp4", EPISODES[0].frames[:3], FPS, lossless=True)
    assert convert(root, tmp_path / "out") == 0
    assert "has 3 frames; the episode is [0, 5)" in capsys.readouterr().out


def test_stale_file_indices_are_found(tmp_path: Path, capsys):
    """A converter wrote them: the table that the metadata names has no row of the episode."""
    root = make_v3(tmp_path / "robot")
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    columns = pq.read_table(path).to_pydict()
    write_table(path, {**columns, "data/file_index": [0, 0, 1]})
    assert convert(root, tmp_path / "out") == 0
    assert "episode 1: data/chunk-000/file-000.parquet has 0 rows of it; the metadata says 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"codebase_version": "v1.6"}, [], "codebase_version is v1.6; expected v2.1 or v3.0"),
        ({"features": {"action": FEATURES["action"]}}, [], "no feature has dtype video"),
        ({"features": {CAMERA: FEATURES[CAMERA]}}, [], "has no feature action"),
        ({"features": {**FEATURES, "wrist": FEATURES[CAMERA]}}, [], f"several cameras ({CAMERA}, wrist); give --camera"),
        ({}, ["--camera", "wrist"], f"has no camera wrist; there are {CAMERA}"),
        ({"fps": None}, [], "fps, features, data_path and video_path are needed"),
        ({"fps": 0}, [], "fps is 0 and chunks_size 1000; expected numbers above 0"),
        ({"fps": float("nan")}, [], "fps is nan and chunks_size 1000"),
        ({"chunks_size": 0}, [], "chunks_size 0; expected numbers above 0"),
        ({"features": {**FEATURES, "action": [7]}}, [], "features must be objects with a dtype and a shape"),
        ({"video_path": "{}.mp4"}, [], "has the field {}; known are chunk_index, file_index, video_key"),
        ({"video_path": "{video_key.foo}.mp4"}, [], "has the field {video_key.foo}"),
        ({"video_path": "{video_key:999999999}.mp4"}, [], "has the field {video_key:999999999}"),
        ({"video_path": "{video_key.mp4"}, [], "is no template of a path"),
        ({"video_path": "../../{video_key}.mp4"}, [], "is not below the folder of the data set"),
    ],
)
def test_another_layout_is_one_line(tmp_path: Path, capsys, changes, options, message):
    root = make_v3(tmp_path / "robot")
    write_info(root, "v3.0", **{"fps": FPS, "features": FEATURES, "episodes": 3, **changes})
    assert convert(root, tmp_path / "out", *options) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("data_prep episodes: ")]
    assert len(lines) == 1
    assert message in lines[0]


def change_episodes(root: Path, **columns: list) -> None:
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    write_table(path, {**pq.read_table(path).to_pydict(), **columns})


def test_rows_that_were_removed_are_seen_by_their_timestamps(tmp_path: Path, capsys):
    """Steps without motion are often removed, and frame_index is counted again; the video keeps its frames."""
    root = make_v2(tmp_path / "robot")
    rows = rows_of(EPISODES, 0, FPS)
    kept = {name: values[:2] + values[3:] for name, values in rows.items()}
    write_table(root / "data/chunk-000/episode_000000.parquet", {**kept, "frame_index": list(range(4))})
    lines = (root / "meta/episodes.jsonl").read_text()
    (root / "meta/episodes.jsonl").write_text(lines.replace('"length": 5', '"length": 4'))
    assert convert(root, tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "2 of 3 episodes" in shown
    assert "its timestamp at frame_index 2 is 0.3 s; at 10 frames per second it would be 0.2 s" in shown


@pytest.mark.parametrize("fps", [FPS * 1000 / 1001, FPS * 1.008])
def test_a_video_that_drifts_is_named(tmp_path: Path, capsys, fps):
    """1 % of the rate is a frame after 100 frames."""
    episodes = [made(0, 300), made(1, 4)]
    root = write_v2(tmp_path / "robot", episodes, FPS, NAMES)
    write_video(root / f"videos/chunk-000/{CAMERA}/episode_000000.mp4", episodes[0].frames, fps, lossless=True)
    assert convert(root, tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "1 of 2 episodes" in shown
    assert "at 10 frames per second, as its metadata says, it would be" in shown


def test_a_frame_that_is_missing_in_the_middle_is_named(tmp_path: Path, capsys, make_video):
    episodes = [made(0, 200), made(1, 4)]
    root = write_v2(tmp_path / "robot", episodes, FPS, NAMES)
    path = root / f"videos/chunk-000/{CAMERA}/episode_000000.mp4"
    path.unlink()
    make_video(path, episodes[0].frames, ticks=[tick for tick in range(201) if tick != 100], clock_hz=FPS)
    assert convert(root, tmp_path / "out") == 0
    assert (
        "begins at 10.1000 s; at 10 frames per second, as its metadata says, it would be 10.0000 s" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("start_s", "stop_s", "message"),
    [
        ([0.0, 0.0, 0.0], [0.5, 0.3, 0.4], "its frames [0, 3) of"),
        ([0.0, 0.4, 0.0], [0.5, 0.7, 0.4], "are also those of episode 0"),
        ([0.0, 0.0, 0.0], [0.5, 0.8, 0.4], "from_timestamp to to_timestamp, 0 to 0.8 s, are not its 3 frames"),
        ([0.0, -0.5, 0.0], [0.5, -0.2, 0.4], "no frame of its video begins at from_timestamp, -0.5 s"),
        ([0.0, 0.55, 0.0], [0.5, 0.85, 0.4], "no frame of its video begins at from_timestamp, 0.55 s"),
        ([0.0, float("inf"), 0.0], [0.5, 0.8, 0.4], "OverflowError"),
        ([0.0, float("nan"), 0.0], [0.5, 0.8, 0.4], "ValueError"),
    ],
)
def test_ranges_of_a_video_that_cannot_be_right_are_named(tmp_path: Path, capsys, start_s, stop_s, message):
    """Episodes 0 and 1 share a video."""
    root, key = make_v3(tmp_path / "robot"), f"videos/{CAMERA}"
    change_episodes(root, **{f"{key}/from_timestamp": start_s, f"{key}/to_timestamp": stop_s})
    assert convert(root, tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "2 of 3 episodes" in shown
    assert "episode 1: " in shown
    assert message in shown


def test_no_line_of_the_list_of_episodes_is_lost(tmp_path: Path, capsys):
    """Files that are written by other programs may begin with a mark, and end without a newline."""
    root = make_v2(tmp_path / "robot")
    path = root / "meta/episodes.jsonl"
    lines = path.read_text().rstrip("\n").replace("push", "push\u2028slowly", 1)
    path.write_text(lines, encoding="utf-8-sig")
    assert convert(root, tmp_path / "out") == 0
    assert "3 of 3 episodes" in capsys.readouterr().out
    path.write_text(lines.replace('{"episode_index": 1', '{"episode_index": '))
    assert convert(root, tmp_path / "other") == 1
    assert "episodes.jsonl: line 2 is damaged" in capsys.readouterr().err
    path.write_text(lines.replace('"episode_index": 1', '"episode_index": null'))
    assert convert(root, tmp_path / "null") == 0
    assert "episode_index of row 2 of the metadata is None" in capsys.readouterr().out
    path.write_text("\n".join(lines.split("\n")[:2]))
    assert convert(root, tmp_path / "fewer") == 0
    assert "meta/info.json says 3 episodes; the metadata lists 2" in capsys.readouterr().out


def test_names_may_have_their_places(tmp_path: Path):
    root = make_v2(tmp_path / "robot")
    named = {**FEATURES, "action": {**FEATURES["action"], "names": {"delta_y": 1, "delta_x": 0}}}
    write_info(root, "v2.1", FPS, named, 3)
    assert convert(root, tmp_path / "out") == 0
    assert read_signals(clips_of(tmp_path / "out")[0].signals).action.names == ("delta_x", "delta_y")


def test_a_rate_is_not_for_a_data_set_that_states_it(tmp_path: Path, capsys):
    assert convert(make_v2(tmp_path / "robot"), tmp_path / "out", "--fps", "5") == 1
    assert "--fps is for HDF5 files" in capsys.readouterr().err


def test_other_folders_and_outputs_are_refused(tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    assert convert(tmp_path / "empty", tmp_path / "out") == 1
    assert "not a LeRobotDataset: it has no meta/info.json" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "episodes.parquet").write_bytes(b"mine")
    assert convert(make_v2(tmp_path / "robot"), tmp_path / "mine") == 1
    assert "exists and is not a manifest, so it is not overwritten" in capsys.readouterr().err


def splits_of(out: Path) -> list[str]:
    return [clip.split for clip in clips_of(out)]


def test_episodes_that_all_start_alike_are_split_one_by_one(tmp_path: Path, capsys):
    """A simulator begins every episode in one state: by their start, all episodes would have one split."""
    root = write_v3(tmp_path / "robot", [made(episode, 3, same_start=True) for episode in range(10)], FPS, NAMES)
    assert convert(root, tmp_path / "out", "--test", "0.2") == 0
    splits = splits_of(tmp_path / "out")
    assert (splits.count("train"), splits.count("val"), splits.count("test")) == (7, 1, 2)
    assert "splits are by episode: by the state at the start, " in capsys.readouterr().out
    assert convert(root, tmp_path / "again", "--test", "0.2") == 0
    assert splits_of(tmp_path / "again") == splits


def test_few_episodes_have_train_and_val(tmp_path: Path):
    for count, expected in ((1, ["train"]), (2, ["train", "val"]), (3, ["test", "train", "val"])):
        root = write_v3(tmp_path / f"robot{count}", [made(episode, 3) for episode in range(count)], FPS, NAMES)
        assert convert(root, tmp_path / f"out{count}") == 0
        assert sorted(splits_of(tmp_path / f"out{count}")) == expected


def test_episodes_that_start_alike_stay_together_where_their_start_tells_episodes_apart(tmp_path: Path, capsys):
    """60 episodes from 30 starts."""
    root = write_v3(tmp_path / "robot", [made(episode % 30, 3 + episode // 30) for episode in range(60)], FPS, NAMES)
    assert convert(root, tmp_path / "out") == 0
    splits = splits_of(tmp_path / "out")
    assert splits[:30] == splits[30:]
    assert set(splits) == {"train", "val", "test"}
    assert "splits are by episode" not in capsys.readouterr().out


def test_a_split_that_is_not_wanted_stays_empty(tmp_path: Path):
    assert convert(make_v3(tmp_path / "robot"), tmp_path / "out", "--test", "0") == 0
    assert sorted(splits_of(tmp_path / "out")) == ["train", "train", "val"]
