"""Films that are no pairs, each with its surprise over time and in the picture: the page of `python -m eval score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    frames: NDArray[np.uint8]  # [T, H, W, 3]
    fps: float
    times_s: Sequence[float]
    curves: Mapping[str, Sequence[float]]  # name -> surprise at each of `times_s`, NaN where nothing is judged
    maps: NDArray[np.floating] | None  # surprise by place [times, N], N a square; None for one place
    numbers: Mapping[str, str]  # label -> text


def write_film_page(path: Path, title: str, words: str, films: Sequence[FilmCard]) -> Path:
    """One HTML file that opens offline: a row a film. Raises ValueError where curves or maps do not fit their times."""
    return render(path, "film_page.html", title=title, words=words, players=[_player(card) for card in films])


def _player(card: FilmCard) -> Player:
    lengths = {name: len(values) for name, values in card.curves.items()}
    if card.maps is not None:
        lengths["maps"] = len(card.maps)
    for name, length in lengths.items():
        if length != len(card.times_s):
            raise ValueError(f"{card.title}: {name} has {length} values for {len(card.times_s)} times")
    heat = None if card.maps is None else HeatMap(card.times_s, card.maps)
    return Player(
        title=card.title,
        fps=card.fps,
        frames=len(card.frames),
        screens=[Screen("", "film", mp4_bytes(card.frames, card.fps), heat)],
        curves={name: [(card.times_s, values)] for name, values in card.curves.items()},
        numbers=card.numbers,
    )
