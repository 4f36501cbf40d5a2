"""Data of a player on a page: player.js plays videos in step, above curves of their surprise."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

MAX_LEVEL = 255  # a heat map is stored as bytes: 0 where nothing was forecast, MAX_LEVEL at the peak
Curve = tuple[Sequence[float], Sequence[float]]
"""Times in seconds, surprise."""
VideoKind = Literal["possible", "impossible", "unlabelled", "decoded"]
"""decoded: drawn by a decoder; such a video has no curve."""


@dataclass(frozen=True)
class HeatMap:
    """Surprise by token: values [S, N] at S times, NaN where nothing was forecast. The N tokens form a square grid."""

    times_s: Sequence[float]
    values: NDArray[np.floating]

    @property
    def grid_size(self) -> int:
        """Tokens along an edge; 0 for a single token or tokens that form no square."""
        size = round(self.values.shape[1] ** 0.5)
        return size if size > 1 and size * size == self.values.shape[1] else 0


@dataclass(frozen=True)
class PlayerVideo:
    """One video of a player."""

    label: str
    kind: VideoKind
    mp4: bytes | None  # None if it cannot be shown
    file_name: str = ""
    why_missing: str = ""
    captions: Sequence[tuple[float, str]] = ()  # (from this time in seconds, the text below the video)


@dataclass(frozen=True)
class Player:
    """Videos of equal frame rate that are played in step; decoded ones come last.

    Curves are given by name, one for each video that is not decoded. Heat maps are given by curve, one for each video.
    """

    title: str
    fps: float
    frames: int
    videos: Sequence[PlayerVideo]
    curves: Mapping[str, Sequence[Curve]]
    heat_maps: Mapping[str, Sequence[HeatMap | None]] = field(default_factory=dict)
    events: Sequence[tuple[float, str]] = ()  # (time in seconds, what happens)
    occlusion_s: tuple[float, float] | None = None  # while objects are hidden
    group: str = ""  # players of one group are shown together
    tag: str = ""
    note: str = ""
    numbers: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, Sequence[tuple[float, str]]] = field(default_factory=dict)  # by curve: labelled horizontal lines
    rows: Sequence[str] = ()  # labels of the rows of a 2 x 2 grid of videos
    columns: Sequence[str] = ()
    start_s: float = 0.0  # time that is shown first
    contexts: Sequence[tuple[float, float, float]] = ()  # (from this time on, context of the decoded forecast [from, to))
    quantity: str = "surprise"  # of the curves

    @property
    def has_heat(self) -> bool:
        return any(map(self.is_heated, range(len(self.videos))))

    def is_heated(self, index: int) -> bool:
        """Whether a video can be shown and has a heat map."""
        maps = [some[index] for some in self.heat_maps.values() if index < len(some)]
        return self.videos[index].mp4 is not None and any(heat is not None and heat.grid_size for heat in maps)

    @property
    def data(self) -> dict[str, Any]:
        """JSON for player.js."""
        return {
            "fps": self.fps,
            "frames": self.frames,
            "start": round(self.start_s * self.fps),
            "occlusion": self.occlusion_s,
            "events": [[_short(time), text] for time, text in self.events],
            "curves": [
                {
                    "name": name,
                    "lines": [[_shorts(times), _shorts(values)] for times, values in lines],
                    "levels": [[_short(value), text] for value, text in self.levels.get(name, ())],
                    **_heats(self.heat_maps.get(name, ())),
                }
                for name, lines in self.curves.items()
            ],
            "contexts": [_shorts(context) for context in self.contexts],
            "videos": [
                {
                    "kind": video.kind,
                    "mp4": None if video.mp4 is None else base64.b64encode(video.mp4).decode("ascii"),
                    "captions": [[_short(time), text] for time, text in video.captions],
                }
                for video in self.videos
            ],
        }


def _heats(maps: Sequence[HeatMap | None]) -> dict[str, Any]:
    """One scale for all videos, so that they can be compared; the highest half percent may saturate."""
    drawn = [heat if heat is not None and heat.grid_size else None for heat in maps]
    finite = np.concatenate([np.zeros(0), *[heat.values[np.isfinite(heat.values)] for heat in drawn if heat]])
    peak = float(np.quantile(finite, 0.995)) if len(finite) else 0.0
    return {"peak": _short(peak), "heats": [heat and _heat(heat, peak) for heat in drawn]}


def _heat(heat: HeatMap, peak: float) -> dict[str, Any]:
    values = np.asarray(heat.values, float)
    with np.errstate(invalid="ignore"):
        levels = 1 + np.clip(values / max(peak, 1e-12), 0, 1) * (MAX_LEVEL - 1)
    levels = np.where(np.isfinite(values), levels, 0).round().astype(np.uint8)
    encoded = base64.b64encode(levels.tobytes()).decode("ascii")
    return {"grid_size": heat.grid_size, "times": _shorts(heat.times_s), "levels": encoded}


def _short(number: float) -> float:
    return float(f"{number:.5g}")


def _shorts(numbers: Sequence[float]) -> list[float | None]:
    return [_short(number) if np.isfinite(number) else None for number in np.asarray(numbers, float).tolist()]
