"""LeRobotDataset v2.1 and v3.0 as miniatures in their exact layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldmodel.video import write_video

CAMERA = "observation.images.top"
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
_DRIFT_S = 0.004  # the start of an episode in a video is a sum of durations, and drifts


@dataclass(frozen=True)
class MadeEpisode:
    """T frames with one action and one state each."""

    frames: np.ndarray  # uint8 [T, H, W, 3]
    actions: np.ndarray  # [T, A]
    states: np.ndarray  # [T, S]


def features_of(episode: MadeEpisode, names: Sequence[str], camera: str = CAMERA) -> dict[str, dict]:
    """The features of info.json; the same names for actions and states, in the two spellings that occur."""
    return {
        camera: {"dtype": "video", "shape": list(episode.frames.shape[1:]), "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": [episode.actions.shape[1]], "names": {"motors": list(names)}},
        "observation.state": {"dtype": "float32", "shape": [episode.states.shape[1]], "names": list(names)},
        **{name: {"dtype": "int64", "shape": [1], "names": None} for name in ("frame_index", "episode_index", "index")},
    }


def write_info(root: Path, version: str, fps: float, features: dict[str, dict], episodes: int, **changes: object) -> None:
    (root / "meta").mkdir(parents=True, exist_ok=True)
    info = {"codebase_version": version, "fps": fps, "features": features, "chunks_size": 1000, "total_episodes": episodes}
    info |= {**TEMPLATES[version], "splits": {"train": f"0:{episodes}"}, **changes}
    (root / "meta" / "info.json").write_text(json.dumps(info))


def write_table(path: Path, columns: dict[str, list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def rows_of(episodes: Sequence[MadeEpisode], number: int, fps: float) -> dict[str, list]:
    """The rows of an episode in its table of data."""
    it, first = episodes[number], sum(len(episode.frames) for episode in episodes[:number])
    count = len(it.frames)
    return {
        "action": it.actions.tolist(),
        "observation.state": it.states.tolist(),
        "timestamp": [float(np.float32(frame / fps)) for frame in range(count)],
        "frame_index": list(range(count)),
        "episode_index": [number] * count,
        "index": [first + frame for frame in range(count)],
        "task_index": [0] * count,
    }


def write_v3(
    root: Path,
    episodes: Sequence[MadeEpisode],
    fps: float,
    names: Sequence[str],
    data_files: Sequence[int] | None = None,
    video_files: Sequence[int] | None = None,
    task: str = "push",
) -> Path:
    """data_files, video_files: the number of the file that each episode is in (default: one file)."""
    count = len(episodes)
    data, video = data_files or [0] * count, video_files or [0] * count
    write_info(root, "v3.0", fps, features_of(episodes[0], names), count)
    start_s = []
    for number, file in enumerate(video):
        before = sum(len(episodes[other].frames) for other in range(number) if video[other] == file)
        start_s.append(before / fps + (_DRIFT_S if before else 0.0))
    lengths = [len(episode.frames) for episode in episodes]
    columns: dict[str, list] = {
        "episode_index": list(range(count)),
        "tasks": [[task]] * count,
        "length": lengths,
        "data/chunk_index": [0] * count,
        "data/file_index": list(data),
        f"videos/{CAMERA}/chunk_index": [0] * count,
        f"videos/{CAMERA}/file_index": list(video),
        f"videos/{CAMERA}/from_timestamp": start_s,
        f"videos/{CAMERA}/to_timestamp": [start + length / fps for start, length in zip(start_s, lengths, strict=True)],
        "stats/action/min": [[0.0] * episodes[0].actions.shape[1]] * count,
    }
    write_table(root / "meta/episodes/chunk-000/file-000.parquet", columns)
    for file in sorted(set(data)):
        parts = [rows_of(episodes, number, fps) for number in range(count) if data[number] == file]
        write_table(
            root / f"data/chunk-000/file-{file:03d}.parquet",
            {name: [row for part in parts for row in part[name]] for name in parts[0]},
        )
    for file in sorted(set(video)):
        frames = np.concatenate([episodes[number].frames for number in range(count) if video[number] == file])
        _write_frames(root / f"videos/{CAMERA}/chunk-000/file-{file:03d}.mp4", frames, fps)
    return root


def write_v2(root: Path, episodes: Sequence[MadeEpisode], fps: float, names: Sequence[str], task: str = "push") -> Path:
    write_info(root, "v2.1", fps, features_of(episodes[0], names), len(episodes))
    lines = [
        json.dumps({"episode_index": number, "tasks": [task], "length": len(it.frames)}) for number, it in enumerate(episodes)
    ]
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    for number, it in enumerate(episodes):
        write_table(root / f"data/chunk-000/episode_{number:06d}.parquet", rows_of(episodes, number, fps))
        _write_frames(root / f"videos/chunk-000/{CAMERA}/episode_{number:06d}.mp4", it.frames, fps)
    return root


def _write_frames(path: Path, frames: np.ndarray, fps: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps, lossless=True)
