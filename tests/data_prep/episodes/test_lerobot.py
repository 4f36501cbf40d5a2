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
