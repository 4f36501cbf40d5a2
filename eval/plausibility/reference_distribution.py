"""How surprising is a film, as films go? Its place among lawful films of its length and motion. Pure numpy.

Lawful films are cut into stretches as long as the film, and of these the nearest in motion are taken: `plausibility` is the
share of them that surprise the model at least as much. A film in which nothing happens is easy to foresee, and so is
plausible by that. `copy_adjusted` it is not: there surprise is taken relative to the error of copying, among all lawful
stretches of its length, since beside others as still as itself it would stand well again.

Whitened surprise is cross-fitted: a lawful film is whitened by the errors on the lawful films of the other half (fold), and
a film is compared with each half as that half was whitened, so that it stands among its equals (Vovk 2015,
cross-conformal prediction).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eval.plausibility.sliding_windows import Values, Watched, copy_share, mean_surprise, time_course
from eval.voe.surprise.windows import WindowPlan

FEWEST = 30  # lawful stretches a film is compared with, where there are as many
SHARE = 4  # of more, the quarter that is nearest in motion
USUAL = (0.5, 0.95)  # quantiles of lawful moments, to read a curve by
DISTANCE, WHITENED = "distance", "whitened"
FOLDS = 2


@dataclass(frozen=True)
class LawfulFilm:
    """A film in which nothing impossible happens, as the model saw it."""

    name: str  # of the file: films of one file are of one fold, and none is compared with itself
    fold: int
    watched: Watched  # by "distance", and "whitened" as its fold is


@dataclass(frozen=True)
class Pool:
    """Lawful stretches of one length [M]."""

    film: NDArray[np.int64]
    fold: NDArray[np.int64]
    motion: Values
    surprise: dict[str, Values]  # by scorer
    copying: dict[str, Values]

    def nearest(self, motion: float, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The allowed stretches around a place in the order of motion: half move less and half more, where there are."""
        places = np.flatnonzero(allowed)
        places = places[np.argsort(self.motion[places], kind="stable")]
        count = min(len(places), max(FEWEST, len(places) // SHARE))
        first = int(np.searchsorted(self.motion[places], motion)) - count // 2
        first = min(max(first, 0), len(places) - count)
        return places[first : first + count]


@dataclass(frozen=True)
class Part:
    """A stretch of a film among lawful ones: shares that are at least as surprising, by scorer."""

    first: int  # frame
    motion: float
    surprise: dict[str, float]
    plausibility: dict[str, float]
    copy_adjusted: dict[str, float]
    beside: NDArray[np.int64]  # places in the pool


@dataclass(frozen=True)
class Standing:
    """A film among lawful ones. One that is longer than lawful films reach is judged in stretches of equal length."""

    frames: int  # of a stretch
    parts: Sequence[Part]
    pool: Pool

    def mean(self, field: str, scorer: str) -> float:
        """`plausibility` or `copy_adjusted`, mean over stretches."""
        return float(np.mean([getattr(part, field)[scorer] for part in self.parts]))

    def least(self, scorer: str) -> Part:
        """The stretch of the lowest plausibility, the most surprising of equals."""
        return min(self.parts, key=lambda part: (part.plausibility[scorer], -part.surprise[scorer]))


class Yardstick:
    """Lawful films, to measure others by."""

    def __init__(self, films: Sequence[LawfulFilm], plan: WindowPlan) -> None:
        self.films, self.plan = films, plan
        self._pools: dict[int, Pool] = {}

    @property
    def scorers(self) -> list[str]:
        """ "whitened" first, where there is that."""
        return [name for name in (WHITENED, DISTANCE) if all(name in film.watched.surprise for film in self.films)]

    def place(self, watched: Watched, own: Collection[str] = ()) -> Standing:
        """A film, watched by "distance", "whitened 0" and "whitened 1": as each fold is.

        own: names of lawful files that hold the film itself. It is then compared with others alone; where errors are whitened,
        with those of its own fold, whose whitening has not seen it. Raises ValueError where that leaves nothing.
        """
        frames = self.stretch(watched.frames)
        pool = self.pool(frames)
        allowed = np.full(len(pool.film), True)
        if mine := [film for film in self.films if film.name in own]:
            allowed = np.array([self.films[film].name not in own for film in pool.film], bool)
            if WHITENED in self.scorers:
                allowed &= pool.fold == mine[0].fold
        if not allowed.any():
            raise ValueError("there is no other lawful film to compare it with")
        spare = max(0, watched.frames - frames) // self.plan.stride
        starts = np.unique(np.round(np.linspace(0, spare, -(-watched.frames // frames))).astype(int))
        return Standing(frames, [self._part(watched, int(start), frames, pool, allowed) for start in starts], pool)

    def stretch(self, frames: int) -> int:
        """The length at which a film of so many frames is compared: its own where there are FEWEST lawful stretches of it, else
        the longest at which there are; without any such, the longest of those at which there are most."""
        there = np.array([film.watched.frames for film in self.films])
        lengths = [frames, *reversed(range(self.plan.frames, min(frames, int(there.max()) + 1), self.plan.stride))]
        counts = [sum(len(self._starts(one, length)) for one in there[there >= length].tolist()) for length in lengths]
        enough = next((length for length, count in zip(lengths, counts, strict=True) if count >= FEWEST), None)
        if enough is None and not max(counts):
            raise ValueError(f"no lawful film is as long as it, {frames} frames, or as a window, {self.plan.frames}")
        return enough or lengths[int(np.argmax(counts))]

    def pool(self, frames: int) -> Pool:
        """Lawful films cut end to end into stretches of so many frames."""
        if frames not in self._pools:
            where = [
                (index, start) for index, film in enumerate(self.films) for start in self._starts(film.watched.frames, frames)
            ]
            cuts = [cut(self.films[index].watched, start, frames, self.plan) for index, start in where]
            self._pools[frames] = Pool(
                np.array([index for index, _ in where], np.int64),
                np.array([self.films[index].fold for index, _ in where], np.int64),
                np.array([float(it.motion.mean()) for it in cuts]),
                {name: np.array([float(mean_surprise(it.surprise[name])) for it in cuts]) for name in self.scorers},
                {name: np.array([float(mean_surprise(it.copying[name])) for it in cuts]) for name in self.scorers},
            )
        return self._pools[frames]

    @cached_property
    def usual(self) -> dict[str, tuple[float, ...]]:
        """By scorer: quantiles USUAL of surprise over all moments of lawful films."""
        found = {}
        for name in self.scorers:
            courses = [time_course(film.watched.surprise[name], self.plan, film.watched.frames) for film in self.films]
            found[name] = tuple(np.nanquantile(np.concatenate(courses), USUAL).tolist())
        return found

    def _part(self, watched: Watched, start: int, frames: int, pool: Pool, allowed: NDArray[np.bool_]) -> Part:
        mine = cut(watched, start, frames, self.plan)
        moves = float(mine.motion.mean())
        beside, everyone = pool.nearest(moves, allowed), np.flatnonzero(allowed)
        means, shares, adjusted = {}, {}, {}
        for name in self.scorers:
            keys = [f"{name} {fold}" if name == WHITENED else name for fold in range(FOLDS)]
            surprise, copying = (
                np.array([float(mean_surprise(values[key])) for key in keys]) for values in (mine.surprise, mine.copying)
            )
            means[name] = float(surprise.mean())
            shares[name] = float((pool.surprise[name][beside] >= surprise[pool.fold[beside]]).mean())
            theirs = copy_share(pool.surprise[name], pool.copying[name])[everyone]
            adjusted[name] = float((theirs >= copy_share(surprise, copying)[pool.fold[everyone]]).mean())
        return Part(start * self.plan.stride, moves, means, shares, adjusted, beside)

    def _starts(self, there: int, frames: int) -> range:
        """First windows of the stretches that a lawful film of `there` frames is cut into; they share no frame."""
        whole = max(frames, min(self.plan.frames, there))  # where a stretch is shorter than a window, the window is there
        last = (there - whole) // self.plan.stride if there >= frames else -1
        return range(0, last + 1, -(-frames // self.plan.stride))


def cut(watched: Watched, start: int, frames: int, plan: WindowPlan) -> Watched:
    """`frames` frames of a film from window `start` on; where that is less than a window, what of it is judged by then."""
    stop = start + max(0, frames - plan.frames) // plan.stride + 1
    judged = np.full((len(plan.contexts), plan.horizon), True)
    if frames < plan.frames:
        ends = np.array(plan.contexts)[:, None] + (1 + np.arange(plan.horizon)) * plan.tubelet_size
        judged = ends <= frames

    def of(values: Mapping[str, Values]) -> dict[str, Values]:
        return {name: np.where(judged, array[start:stop], np.nan) for name, array in values.items()}

    first = start * plan.stride
    return Watched(
        of(watched.surprise),
        of(watched.copying),
        watched.motion[start:stop, : frames - 1],
        {name: array[first : first + frames] for name, array in watched.places.items()},
        watched.judged[first : first + frames],
    )
