"""What every benchmark becomes: films that belong together, and which of them is compared with which."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worldmodel.files.atomic import write_text
from worldmodel.files.json_files import missing_field, read_value
from worldmodel.video.square import Square, read_square

PairKind = Literal["same context", "same outcome", "matched"]
Range = tuple[int, int]  # half-open


class TrialError(ValueError):
    """A suite that is incomplete or breaks its layout; says what was found, what was expected, and what to do."""


@dataclass(frozen=True)
class Film:
    """One film of a trial. Frames of a trial count from the first of the film, at the film's own rate."""

    film_id: str
    path: str  # a video file or a folder of frames
    fps: float
    frames: int  # from start_frame on
    label: bool | None  # possible? None only where the labels are secret
    context_id: str = ""  # what went before: films with equal ones are equal until what differs begins
    outcome_id: str = ""  # what comes: films with equal ones end alike
    start_frame: int = 0  # of the file, where a priming part is left out


@dataclass(frozen=True)
class Pair:
    """Places in `Trial.films`. "same context": two outcomes of one beginning; "same outcome": two beginnings of one end;
    "matched": as a benchmark gives them, with no such claim."""

    kind: PairKind
    possible: int
    impossible: int


@dataclass(frozen=True)
class Trial:
    """Films that differ in one thing. The unit of statistics: pairs of one trial are not independent."""

    group_id: str
    films: tuple[Film, ...]
    pairs: tuple[Pair, ...]
    property: str
    split: str = "test"
    visibility: str = ""  # occluded | visible
    level: str = ""
    copy_class: str = ""  # easy | neutral | hard
    magnitude: float | None = None
    spliced: bool = False  # cut from lawful films at a frame where they are equal: frame-wise scorers are provably blind
    locked: Range | None = None  # frames at which a context may stop so that it ends in full occlusion
    splice: int | None = None
    occlusion: Range | None = None
    violation: int | None = None
    reveal: int | None = None
    flag: str = ""  # a known defect of this property in this benchmark


def frames_shown(film: Film, fps: float) -> int:
    """Frames of a film at another rate: as many as begin before its last frame does."""
    return int((film.frames - 1) / film.fps * fps + 1e-6) + 1


def read_film(film: Film, fps: float, size_px: int, square: Square = "squeeze") -> NDArray[np.uint8]:
    """The film at `fps` frames a second, made square as `square` says: uint8 [T, size_px, size_px, 3]. Raises VideoError."""
    times = [film.start_frame / film.fps + index / fps for index in range(frames_shown(film, fps))]
    return read_square(film.path, size_px, square, times_s=times, folder_fps=film.fps)


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """As JSON, so that scores can be made again without the suite."""
    write_text(path, json.dumps([dataclasses.asdict(trial) for trial in trials], indent=1))


def read_trials(path: Path) -> list[Trial]:
    """Raises TrialError that names the file where it is damaged."""
    rows = read_value(path, TrialError)
    try:
        return [_trial(row) for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        missing_field(path, error, TrialError)


def _trial(row: dict[str, Any]) -> Trial:
    films = tuple(Film(**film) for film in row["films"])
    pairs = tuple(Pair(**pair) for pair in row["pairs"])
    ranges = {name: None if row[name] is None else tuple(row[name]) for name in ("locked", "occlusion")}
    return Trial(**{**row, "films": films, "pairs": pairs, **ranges})


def check_trials(trials: Iterable[Trial]) -> None:
    """Names occur once, and every pair has one possible and one impossible film of its trial.

    A trial of films without labels has no pairs. Raises TrialError, naming the first that is wrong and counting the others.
    """
    problems: list[str] = []
    groups: set[str] = set()
    films: set[str] = set()
    for trial in trials:
        if trial.group_id in groups:
            problems.append(f"{trial.group_id}: there are two trials of this name")
        groups.add(trial.group_id)
        for film in trial.films:
            if film.film_id in films:
                problems.append(f"{trial.group_id}: there are two films named {film.film_id}")
            films.add(film.film_id)
        for pair in trial.pairs:
            labels = trial.films[pair.possible].label, trial.films[pair.impossible].label
            if labels != (True, False):
                problems.append(f"{trial.group_id}: a pair must have one possible and one impossible film, it has {labels}")
    if problems:
        raise TrialError(problems[0] + (f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""))
