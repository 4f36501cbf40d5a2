"""Films that are no pairs, each with its surprise over time and in the picture: the page of `python -m eval score`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.report.player import HeatMap, Player, Screen
from eval.report.rendering import render
from eval.report.videos import MOST_BYTES, fitted_bytes


@dataclass(frozen=True)
class Drawn:
    """What was expected, and what came, as a decoder draws them; frames [T, h, w, 3] in step with those of the film."""

    expected: NDArray[np.uint8]
    came: NDArray[np.uint8]
    seen: Sequence[tuple[float, float, float]]  # from a moment on: seconds [from, to) of the film that it was forecast from
    says: Sequence[tuple[float, str]]  # from a moment on: how far ahead that is, in words


@dataclass(frozen=True)
class FilmCard:
    """One film of a page."""

    title: str
    frames: NDArray[np.uint8] | None  # [T, H, W, 3]; None where the file is gone
    fps: float
    times_s: Sequence[float]
    curves: Mapping[str, Sequence[float]]  # name -> surprise at each of `times_s`, NaN where nothing is judged
    maps: Mapping[str, NDArray[np.floating]]  # by curve: surprise by place [times, N], N a square; none for one place
    numbers: Mapping[str, str]  # label -> text
    levels: Mapping[str, Sequence[tuple[float, str]]] = field(default_factory=dict)  # by curve: heights to read it by
    note: str = ""
    drawn: Drawn | None = None
    peak_s: float = 0.0  # where it surprises most, which is shown first


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
    notes: Sequence[str] = (),
    made: str = "",
    most_bytes: float = MOST_BYTES,
) -> Path:
    """One HTML file that opens offline: a ranking by `scorer`, films that could not be scored with the reason, a player a
    film, whose pictures are made small enough for `most_bytes`, and what it was `made` of. Raises ValueError where curves or
    maps do not fit their times."""
    players = [_player(card, most_bytes) for card in films]
    content = {"players": players, "ranking": ranking, "scorer": scorer, "failed": failed or {}, "notes": notes, "made": made}
    return render(path, "film_page.html", title=title, words=words, **content)


def _player(card: FilmCard, most_bytes: float) -> Player:
    for name, values in (*card.curves.items(), *card.maps.items()):
        if len(values) != len(card.times_s):
            raise ValueError(f"{card.title}: {name} has {len(values)} values for {len(card.times_s)} times")
    mp4 = None if card.frames is None else fitted_bytes(card.frames, card.fps, most_bytes / 2)
    return Player(
        title=card.title,
        fps=card.fps,
        frames=round(card.times_s[-1] * card.fps) + 1 if card.frames is None else len(card.frames),
        screens=[
            Screen("", "film", mp4, card.title, "" if mp4 else "is no longer on this disk"),
            *([] if card.drawn is None else _drawn(card.drawn, card.fps, most_bytes / 4)),
        ],
        curves={name: [(card.times_s, values)] for name, values in card.curves.items()},
        heats={name: [HeatMap(card.times_s, values)] for name, values in card.maps.items()},
        start_s=card.peak_s,
        seen=() if card.drawn is None else card.drawn.seen,
        numbers=card.numbers,
        levels=card.levels,
        note=card.note,
    )


def _drawn(drawn: Drawn, fps: float, most_bytes: float) -> list[Screen]:
    """Two films of the decoder: what differs between them is what the model did not foresee."""
    return [
        Screen("expected", "drawn", fitted_bytes(drawn.expected, fps, most_bytes), says=drawn.says),
        Screen("what came, drawn", "drawn", fitted_bytes(drawn.came, fps, most_bytes)),
    ]
