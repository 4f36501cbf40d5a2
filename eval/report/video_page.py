"""The page of `python -m eval plausibility`: single videos with their surprise over time and by location."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.report.player import HeatMap, Player, PlayerVideo
from eval.report.rendering import render
from eval.report.videos import MAX_BYTES, mp4_bytes_within


@dataclass(frozen=True)
class DecodedVideos:
    """A decoded forecast and the decoded ground truth: frames [T, h, w, 3] in step with those of the video."""

    forecast: NDArray[np.uint8]
    ground_truth: NDArray[np.uint8]
    contexts: Sequence[tuple[float, float, float]]  # (from this time on, the context [from, to) of the forecast), seconds
    labels: Sequence[tuple[float, str]]  # (from this time on, how far ahead the forecast is)


@dataclass(frozen=True)
class VideoCard:
    """One video of a page."""

    title: str
    frames: NDArray[np.uint8] | None  # [T, H, W, 3]; None if the file cannot be read
    fps: float
    times_s: Sequence[float]
    curves: Mapping[str, Sequence[float]]  # by name: surprise at each of `times_s`, NaN where nothing was forecast
    maps: Mapping[str, NDArray[np.floating]]  # by curve: surprise by token [times, N], N a square number above 1
    numbers: Mapping[str, str]  # label -> text
    levels: Mapping[str, Sequence[tuple[float, str]]] = field(default_factory=dict)  # by curve: labelled horizontal lines
    note: str = ""
    decoded: DecodedVideos | None = None
    peak_s: float = 0.0  # time of the highest surprise, which is shown first


@dataclass(frozen=True)
class RankedVideo:
    """A row of the ranking. Plausibilities are fractions from 0 to 1."""

    rank: int
    name: str
    plausibility: float | None
    copy_adjusted: float | None
    surprise: float | None
    peak_s: float | None
    player: int | None  # number of the player that shows it


def write_video_page(
    path: Path,
    title: str,
    explanation: str,
    videos: Iterable[VideoCard],
    ranking: Sequence[RankedVideo] = (),
    scorer: str = "",
    failed: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    provenance: str = "",
    max_bytes: float = MAX_BYTES,
) -> Path:
    """Write one HTML file that opens offline: a ranking by `scorer`, failed videos with the reason, and a player per video.

    max_bytes: for the videos of one player. Raises ValueError if curves or maps do not fit their times.
    """
    players = [_player(card, max_bytes) for card in videos]
    return render(
        path,
        "video_page.html",
        title=title,
        explanation=explanation,
        players=players,
        ranking=ranking,
        scorer=scorer,
        failed=failed or {},
        notes=notes,
        provenance=provenance,
    )


def _player(card: VideoCard, max_bytes: float) -> Player:
    for name, values in (*card.curves.items(), *card.maps.items()):
        if len(values) != len(card.times_s):
            raise ValueError(f"{card.title}: {name} has {len(values)} values for {len(card.times_s)} times")
    mp4 = None if card.frames is None else mp4_bytes_within(card.frames, card.fps, max_bytes / 2)
    decoded = [] if card.decoded is None else _decoded(card.decoded, card.fps, max_bytes / 4)
    return Player(
        title=card.title,
        fps=card.fps,
        frames=round(card.times_s[-1] * card.fps) + 1 if card.frames is None else len(card.frames),
        videos=[PlayerVideo("", "unlabelled", mp4, card.title, "" if mp4 else "can no longer be read"), *decoded],
        curves={name: [(card.times_s, values)] for name, values in card.curves.items()},
        heat_maps={name: [HeatMap(card.times_s, values)] for name, values in card.maps.items()},
        start_s=card.peak_s,
        contexts=() if card.decoded is None else card.decoded.contexts,
        numbers=card.numbers,
        levels=card.levels,
        note=card.note,
    )


def _decoded(decoded: DecodedVideos, fps: float, max_bytes: float) -> list[PlayerVideo]:
    """Two videos; where they differ, the forecast was wrong."""
    forecast, ground_truth = (mp4_bytes_within(frames, fps, max_bytes) for frames in (decoded.forecast, decoded.ground_truth))
    return [
        PlayerVideo("forecast", "decoded", forecast, captions=decoded.labels),
        PlayerVideo("ground truth", "decoded", ground_truth),
    ]
