"""What player.js needs to play films in step above their surprise."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FULL = 255  # a heat map is bytes: 0 where nothing is judged, FULL at its peak
Line = tuple[Sequence[float], Sequence[float]]  # times in seconds, surprise


@dataclass(frozen=True)
class HeatMap:
    """Surprise by place over time: values [S, N] at times [S], NaN where nothing is judged; N places are a square."""

    times_s: Sequence[float]
    values: NDArray[np.floating]

    @property
    def side(self) -> int:
        """Places along an edge; 0 where they are no square, or a single one."""
        side = round(self.values.shape[1] ** 0.5)
        return side if side > 1 and side * side == self.values.shape[1] else 0


@dataclass(frozen=True)
class Screen:
    """One film of a player."""

    label: str
    kind: Literal["possible", "impossible", "film", "drawn"]  # drawn by a decoder: it has no curve
    mp4: bytes | None  # None where the file is gone
    name: str = ""  # of the file
    why_missing: str = ""
    says: Sequence[tuple[float, str]] = ()  # from a moment in seconds on: what stands below it


@dataclass(frozen=True)
class Player:
    """Films of equal rate that are played in step, those that are drawn last. `curves`: by name, a line for each film that is
    not; `heats`: by curve, a map for each."""

    title: str
    fps: float
    frames: int
    screens: Sequence[Screen]
    curves: Mapping[str, Sequence[Line]]
    heats: Mapping[str, Sequence[HeatMap | None]] = field(default_factory=dict)
    marks: Sequence[tuple[float, str]] = ()  # moments in seconds, and what happens then
    hidden_s: tuple[float, float] | None = None  # while things are out of sight
    group: str = ""  # players of one group are shown together
    tag: str = ""
    note: str = ""
    numbers: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, Sequence[tuple[float, str]]] = field(default_factory=dict)  # by curve: heights to read it by
    rows: Sequence[str] = ()  # what stands beside the rows of a square of films
    columns: Sequence[str] = ()
    start_s: float = 0.0  # the moment that is shown first
    seen: Sequence[tuple[float, float, float]] = ()  # from a moment on: seconds [from, to) that what is drawn was forecast by

    @property
    def has_heat(self) -> bool:
        return any(map(self.heated, range(len(self.screens))))

    def heated(self, place: int) -> bool:
        """Whether a film is there, and a map to lie over it."""
        maps = [heats[place] for heats in self.heats.values() if place < len(heats)]
        return self.screens[place].mp4 is not None and any(heat is not None and heat.side for heat in maps)

    @property
    def data(self) -> dict[str, Any]:
        """As JSON for the page."""
        return {
            "fps": self.fps,
            "frames": self.frames,
            "start": round(self.start_s * self.fps),
            "hidden": self.hidden_s,
            "marks": [[_short(time), words] for time, words in self.marks],
            "curves": [
                {
                    "name": name,
                    "lines": [[_shorts(times), _shorts(values)] for times, values in lines],
                    "levels": [[_short(value), words] for value, words in self.levels.get(name, ())],
                    **_heats(self.heats.get(name, ())),
                }
                for name, lines in self.curves.items()
            ],
            "seen": [_shorts(moment) for moment in self.seen],
            "films": [
                {
                    "kind": screen.kind,
                    "mp4": None if screen.mp4 is None else base64.b64encode(screen.mp4).decode("ascii"),
                    "says": [[_short(time), words] for time, words in screen.says],
                }
                for screen in self.screens
            ],
        }


def _heats(heats: Sequence[HeatMap | None]) -> dict[str, Any]:
    """One scale for all films, so that they compare; the brightest half percent may saturate."""
    drawn = [heat if heat is not None and heat.side else None for heat in heats]
    seen = np.concatenate([np.zeros(0), *[heat.values[np.isfinite(heat.values)] for heat in drawn if heat]])
    peak = float(np.quantile(seen, 0.995)) if len(seen) else 0.0
    return {"peak": _short(peak), "heats": [heat and _heat(heat, peak) for heat in drawn]}


def _heat(heat: HeatMap, peak: float) -> dict[str, Any]:
    values = np.asarray(heat.values, float)
    with np.errstate(invalid="ignore"):
        levels = 1 + np.clip(values / max(peak, 1e-12), 0, 1) * (FULL - 1)
    levels = np.where(np.isfinite(values), levels, 0).round().astype(np.uint8)
    return {"side": heat.side, "times": _shorts(heat.times_s), "levels": base64.b64encode(levels.tobytes()).decode("ascii")}


def _short(number: float) -> float:
    return float(f"{number:.5g}")


def _shorts(numbers: Sequence[float]) -> list[float | None]:
    return [_short(number) if np.isfinite(number) else None for number in np.asarray(numbers, float).tolist()]
