"""LeRobotDataset v2.1 and v3.0 on miniatures in their exact layout: frames and actions belong together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.__main__ import main
from worldmodel.manifest import Manifest
from worldmodel.signals import action_blocks, read_signals, states_at
from worldmodel.video import read_frames, write_video

FPS, LENGTHS, CAMERA = 10, (5, 3, 4), "observation.images.top"
FEATURES = {
    CAMERA: {"dtype": "video", "shape": [16, 16, 3], "names": ["height", "width", "channels"]},
    "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["shoulder", "elbow"]}},
    "observation.state": {"dtype": "float32", "shape": [2], "names": ["shoulder", "elbow"]},
    **{name: {"dtype": "int64", "shape": [1], "names": None} for name in ("frame_index", "episode_index", "index")},
}
TEMPLATES = {
    "v3.0": {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    },
    "v2.1": {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    },
}


def value(episode: int, frame: int) -> int:
    """The grey level of a frame, which is also its first action."""
    return 20 * (episode + 1) + 3 * frame


def pictures(episode: int) -> np.ndarray:
    levels = np.array([value(episode, frame) for frame in range(LENGTHS[episode])], np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 16, 16, 3))


def rows(episode: int) -> dict[str, list]:
    frames = range(LENGTHS[episode])
    first = sum(LENGTHS[:episode])
    return {
        "action": [[float(value(episode, frame)), 1.0] for frame in frames],
        "observation.state": [[float(episode), float(frame)] for frame in frames],
        "timestamp": [float(np.float32(frame / FPS)) for frame in frames],
        "frame_index": list(frames),
        "episode_index": [episode] * len(frames),
        "index": [first + frame for frame in frames],
        "task_index": [0] * len(frames),
    }


def write_table(path: Path, columns: dict[str, list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def write_info(root: Path, version: str, **changes: object) -> None:
    (root / "meta").mkdir(parents=True, exist_ok=True)
    info = {"codebase_version": version, "fps": FPS, "features": FEATURES, "chunks_size": 1000, "total_episodes": 3}
    (root / "meta" / "info.json").write_text(json.dumps({**info, **TEMPLATES[version], "splits": {"train": "0:3"}, **changes}))


def make_v3(root: Path) -> Path:
    """Episodes 0 and 1 in one video, 2 in another one; 0 in one data file, 1 and 2 in another one."""
    write_info(root, "v3.0")
    data, video = ((0, 0), (0, 1), (0, 1)), ((0, 0), (0, 0), (0, 1))
    start_s = (0.0, LENGTHS[0] / FPS + 0.004, 0.0)  # the start is a sum of durations, and drifts
    columns: dict[str, list] = {
        "episode_index": [0, 1, 2],
        "tasks": [["push"]] * 3,
        "length": list(LENGTHS),
        "data/chunk_index": [place[0] for place in data],
        "data/file_index": [place[1] for place in data],
        f"videos/{CAMERA}/chunk_index": [place[0] for place in video],
        f"videos/{CAMERA}/file_index": [place[1] for place in video],
        f"videos/{CAMERA}/from_timestamp": list(start_s),
        f"videos/{CAMERA}/to_timestamp": [start + length / FPS for start, length in zip(start_s, LENGTHS, strict=True)],
        "stats/action/min": [[0.0, 0.0]] * 3,
    }
    write_table(root / "meta/episodes/chunk-000/file-000.parquet", columns)
    write_table(root / "data/chunk-000/file-000.parquet", rows(0))
    write_table(root / "data/chunk-000/file-001.parquet", {name: rows(1)[name] + rows(2)[name] for name in rows(1)})
    for file, episodes in ((0, (0, 1)), (1, (2,))):
        path = root / f"videos/{CAMERA}/chunk-000/file-{file:03d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, np.concatenate([pictures(episode) for episode in episodes]), FPS, lossless=True)
    return root


def make_v2(root: Path) -> Path:
    write_info(root, "v2.1")
    lines = [json.dumps({"episode_index": n, "tasks": ["push"], "length": length}) for n, length in enumerate(LENGTHS)]
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    for episode in range(3):
        write_table(root / f"data/chunk-000/episode_{episode:06d}.parquet", rows(episode))
        path = root / f"videos/chunk-000/{CAMERA}/episode_{episode:06d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, pictures(episode), FPS, lossless=True)
    return root


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


def test_several_steps_between_frames_give_all_their_actions(tmp_path: Path):
    convert(make_v3(tmp_path / "robot"), tmp_path / "out")
    clip = clips_of(tmp_path / "out")[1]
    blocks = action_blocks(read_signals(clip.signals), [clip.start_s, clip.start_s + 2 / FPS])
    assert blocks[..., 0].tolist() == [[value(1, 0), value(1, 1)]]


def test_broken_episodes_are_named_and_the_others_are_used(tmp_path: Path, capsys):
    root = make_v2(tmp_path / "robot")
    (root / f"videos/chunk-000/{CAMERA}/episode_000001.mp4").unlink()
    write_table(root / "data/chunk-000/episode_000002.parquet", {name: values[:3] for name, values in rows(2).items()})
    assert convert(root, tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "1 of 3 episodes" in shown
    assert f"episode 1: there is no videos/chunk-000/{CAMERA}/episode_000001.mp4" in shown
    assert "episode 2: data/chunk-000/episode_000002.parquet has 3 rows of it; the metadata says 4" in shown


def test_a_video_that_ends_early_is_named(tmp_path: Path, capsys):
    root = make_v2(tmp_path / "robot")
    write_video(root / f"videos/chunk-000/{CAMERA}/episode_000000.mp4", pictures(0)[:3], FPS, lossless=True)
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
    write_info(root, "v3.0", **changes)
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
