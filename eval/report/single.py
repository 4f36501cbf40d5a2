"""Films that are no pairs, each with its surprise over time and in the picture: the page of `python -m eval score`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.report.films import mp4_bytes
from eval.report.player import HeatMap, Player, Screen
from eval.report.rendering import render


@dataclass(frozen=True)
class FilmCard:
    """One film of a page."""

    title: str
    frames: NDArray[np.uint8] | None  # [T, H, W, 3]; None where the file is gone
    fps: float
    times_s: Sequence[float]
    curves: Mapping[str, Sequence[float]]  # name -> surprise at each of `times_s`, NaN where nothing is judged
    maps: NDArray[np.floating] | None  # surprise by place [times, N], N a square; None for one place
    numbers: Mapping[str, str]  # label -> text
    levels: Mapping[str, Sequence[tuple[float, str]]] = field(default_factory=dict)  # by curve: heights to read it by
    note: str = ""


@dataclass(frozen=True)
class Ranked:
    """A row of the table; shares 0 to 1."""

    rank: int
    name: str
    plausibility: float
    copy_adjusted: float
    surprise: float
    peak_s: float
    player: int | None  # which of the players shows it


def write_film_page(
    path: Path,
    title: str,
    words: str,
    films: Iterable[FilmCard],
    ranking: Sequence[Ranked] = (),
    scorer: str = "",
    failed: Mapping[str, str] | None = None,
) -> Path:
    """One HTML file that opens offline: a ranking by `scorer`, films that could not be scored with the reason, and a player
    a film. Raises ValueError where curves or maps do not fit their times."""
    players = [_player(card) for card in films]
    content = {"players": players, "ranking": ranking, "scorer": scorer, "failed": failed or {}}
    return render(path, "film_page.html", title=title, words=words, **content)


def _player(card: FilmCard) -> Player:
    lengths = {name: len(values) for name, values in card.curves.items()}
    if card.maps is not None:
        lengths["maps"] = len(card.maps)
    for name, length in lengths.items():
        if length != len(card.times_s):
            raise ValueError(f"{card.title}: {name} has {length} values for {len(card.times_s)} times")
    heat = None if card.maps is None else HeatMap(card.times_s, card.maps)
    mp4 = None if card.frames is None else mp4_bytes(card.frames, card.fps)
    return Player(
        title=card.title,
        fps=card.fps,
        frames=round(card.times_s[-1] * card.fps) + 1 if card.frames is None else len(card.frames),
        screens=[Screen("", "film", mp4, heat, card.title, "" if mp4 else "is no longer on this disk")],
        curves={name: [(card.times_s, values)] for name, values in card.curves.items()},
        numbers=card.numbers,
        levels=card.levels,
        note=card.note,
    )
