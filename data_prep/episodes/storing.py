"""Store an episode whose pictures are in memory: a lossless video and a table of signals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.content_hash import content_hash
from worldmodel.files.output_errors import output_errors
from worldmodel.manifest import Clip, clip_id
from worldmodel.signals import Channel, Signals, write_signals
from worldmodel.video import write_video


@dataclass(frozen=True)
class PicturedEpisode:
    """T frames with one action and one state each; the last action may be NaN."""

    number: int
    frames: NDArray[np.uint8]  # [T, H, W, 3]
    fps: float
    actions: NDArray[np.float64]  # [T, A]
    states: NDArray[np.float64]  # [T, S]
    action: Channel
    state: Channel
    origin: Mapping[str, Any]
    source: str
    split: str


def store_episode(folder: Path, episode: PicturedEpisode) -> Clip:
    """Write FOLDER/clips/... and FOLDER/signals/... Returns the row, with relative paths. Raises OutputError."""
    name = f"{episode.number:06d}"
    places = (("clips", ".mp4"), ("signals", ".parquet"))
    video, table = (folder / kind / name[:3] / f"{name}{suffix}" for kind, suffix in places)
    for path in (video, table):
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width, _ = episode.frames.shape
    channels = episode.action, episode.state
    time_s = np.arange(count) / episode.fps
    write_signals(table, Signals(str(table), time_s, episode.actions, episode.states, *channels, episode.origin))
    write_video(video, episode.frames, episode.fps, lossless=True)
    digest, stop_s = content_hash(str(video), None), count / episode.fps
    return Clip(
        clip_id=clip_id(digest, 0.0, stop_s),
        path=str(video.relative_to(folder)),
        member=None,
        start_s=0.0,
        stop_s=stop_s,
        fps=episode.fps,
        frames=count,
        width=width,
        height=height,
        rotation=0,
        codec="h264",
        split=episode.split,
        label=None,
        truth=None,
        source=episode.source,
        content_hash=digest,
        timing="packets",
        signals=str(table.relative_to(folder)),
    )


def numbered_channel(kind: str, size: int) -> Channel:
    """Names such as action[0], without units."""
    return Channel(tuple(f"{kind}[{number}]" for number in range(size)), ("",) * size)


def digest_of(numbers: NDArray[Any]) -> str:
    """Digest by which episodes are split: equal numbers have one split. Rounded to 9 decimals."""
    return hashlib.sha256(np.round(numbers.astype(np.float64), 9).astype("<f8").tobytes()).hexdigest()
