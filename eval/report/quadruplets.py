"""Which trials a reader is shown, and their films with surprise over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.report.heat import heat_map, read_maps
from eval.report.player import HeatMap, Line, Player, Screen
from eval.report.videos import MOST_BYTES, film_bytes, page_rate
from eval.result_folder import read_result
from eval.voe.pairs import compare
from eval.voe.scores.video_scores import ScorerTrace, by_scorer
from eval.voe.surprise.traces import Traces
from eval.voe.trials import Film, Trial, read_trials
from worldmodel.video import VideoError

MOST_TRIALS = 30
WINDOWS_WORDS = {"locked": "locked windows", "free": "sliding windows"}
Values = NDArray[np.float64]


class Album:
    """Trials of an evaluation, as they can be looked at."""

    def __init__(self, out: Path, protocol: Mapping[str, Any], scores: Mapping[str, Any], trials: Sequence[Trial]) -> None:
        self.out, self.protocol, self.trials = out, protocol, trials
        self.rows = by_scorer(Traces.open(out / "traces.parquet"), [film.film_id for trial in trials for film in trial.films])
        self.first = np.cumsum([0, *(len(trial.films) for trial in trials)])
        self.taken: Mapping[str, float | None] = scores.get("context_s", {})
        self.scorers = [name for name in scores["headline"] if name in ("whitened", "distance")] or list(scores["headline"])[:1]
        self._bytes = 0

    def players(self) -> list[Player]:
        """Per property the median trial, the best and the worst, by the first scorer; locked windows where there are any."""
        address = self._judged_by()
        if address is None:
            return []
        surprise = self._of(*address).film_mean()
        return [self._player(index, words, surprise) for index, words in self._chosen(surprise)]

    def shown(self) -> list[str]:
        """Names of the trials that `players` shows."""
        address = self._judged_by()
        found = [] if address is None else self._chosen(self._of(*address).film_mean())
        return [self.trials[index].group_id for index, _ in found]

    def _chosen(self, surprise: Values) -> list[tuple[int, str]]:
        margins = {index: margin for index in range(len(self.trials)) if (margin := self._margin(index, surprise)) is not None}
        return chosen(self.trials, margins)

    def _judged_by(self) -> tuple[str, str] | None:
        there = [(kind, name) for kind in WINDOWS_WORDS for name in self.scorers if (kind, name) in self.rows]
        return there[0] if there else None

    def _of(self, windows: str, scorer: str) -> ScorerTrace:
        """Rows of a scorer, at the context length it is scored at."""
        return self.rows[windows, scorer].at(self.taken.get(scorer) if windows == "free" else None)

    def _margin(self, index: int, surprise: Values) -> float | None:
        """By how much impossible films surprise more than possible ones, mean over pairs, as a share of their mean surprise."""
        trial = self.trials[index]
        films = surprise[self.first[index] : self.first[index + 1]]
        if trial.split != "test" or not trial.pairs or not np.isfinite(films).all():
            return None
        gap = np.mean([films[pair.impossible] - films[pair.possible] for pair in trial.pairs])
        return float(gap / max(float(films.mean()), 1e-12))

    def _player(self, index: int, tag: str, surprise: Values) -> Player:
        trial, first = self.trials[index], int(self.first[index])
        contexts, outcomes = ({getattr(film, name) for film in trial.films} for name in ("context_id", "outcome_id"))
        square = len(contexts) == len(outcomes) == 2 and len(trial.films) == 4
        order = sorted(range(len(trial.films)), key=lambda place: _place_in_grid(trial.films[place], square))
        films = [trial.films[place] for place in order]
        fps = trial.films[0].fps
        moments = [(trial.violation, "the impossible happens"), (trial.reveal, "it can be seen")]
        margin = self._margin(index, surprise)
        curves = self._curves([first + place for place in order])
        return Player(
            title=f"{trial.property}{f', {trial.visibility}' if trial.visibility else ''}",
            group=trial.property,
            note=trial.group_id,
            tag=tag,
            fps=page_rate(films[0]),
            frames=max(max(1, round(film.frames / film.fps * page_rate(film))) for film in films),
            screens=[self._screen(film, square) for film in films],
            curves=curves,
            start_s=widest_gap([film.label for film in films], next(iter(curves.values()), ())),
            heats=self._heats(films),
            marks=[(frame / fps, words) for frame, words in moments if frame is not None],
            hidden_s=(trial.occlusion[0] / fps, trial.occlusion[1] / fps) if trial.occlusion else None,
            numbers=self._numbers(trial, surprise[first : first + len(films)], margin),
            rows=[f"context {name}" for name in dict.fromkeys(film.context_id for film in films)] if square else (),
            columns=[f"outcome {name}" for name in dict.fromkeys(film.outcome_id for film in films)] if square else (),
        )

    def _numbers(self, trial: Trial, surprise: Values, margin: float | None) -> dict[str, str]:
        """What the trial scored, in words."""
        found = {}
        for kind in dict.fromkeys(pair.kind for pair in trial.pairs):
            pairs = [pair for pair in trial.pairs if pair.kind == kind]
            right = sum(float(compare(surprise[pair.possible], surprise[pair.impossible])) for pair in pairs)
            found[f"{kind}, pairs right"] = f"{right:g} of {len(pairs)}"
        if margin is not None:
            found["margin"] = f"{float(f'{100 * margin:.2g}'):+g} % of the mean surprise"
        return found

    def _screen(self, film: Film, square: bool) -> Screen:
        kind = "film" if film.label is None else "possible" if film.label else "impossible"
        label = f"{film.context_id} → {film.outcome_id}" if square else ""
        mp4, why = None, ""
        if self._bytes > MOST_BYTES:
            why = "left out, to keep this page small"
        else:
            try:
                mp4 = film_bytes(film, self.protocol.get("square", "squeeze"))
                self._bytes += len(mp4)
            except (VideoError, OSError):
                why = "no longer on this disk"
        return Screen(label, kind, mp4, Path(film.path).name, why)  # type: ignore[arg-type]

    def _curves(self, films: Sequence[int]) -> dict[str, list[Line]]:
        found = {}
        for windows, words in WINDOWS_WORDS.items():
            for scorer in self.scorers:
                if (windows, scorer) in self.rows:
                    rows = self._of(windows, scorer)
                    lines: list[Line] = [rows.time_course(film) for film in films]  # type: ignore[misc]
                    if any(len(times) for times, _ in lines):
                        found[f"{scorer}, {words}"] = lines
        return found

    def _heats(self, films: Sequence[Film]) -> dict[str, list[HeatMap | None]]:
        """Of each curve the surprise that it is the mean of, place by place."""
        maps = [read_maps(self.out, film.film_id) for film in films]
        step_s = self.protocol["model"].get("tubelet_size", 1) / self.protocol["windows"]["fps"]
        found = {}
        for windows, words in WINDOWS_WORDS.items():
            for scorer in self.scorers:
                context_s = self.taken.get(scorer) if windows == "free" else None
                found[f"{scorer}, {words}"] = [heat_map(arrays, windows, scorer, context_s, step_s) for arrays in maps]
        return found


def widest_gap(labels: Sequence[bool | None], lines: Sequence[Line]) -> float:
    """The moment at which impossible films are farthest above possible ones, on the mean; 0 without any."""
    at: dict[float, dict[bool | None, list[float]]] = defaultdict(lambda: defaultdict(list))
    for label, (times, values) in zip(labels, lines, strict=False):
        for time, value in zip(times, values, strict=True):
            at[float(time)][label].append(float(value))
    gaps = {time: float(np.mean(by[False]) - np.mean(by[True])) for time, by in at.items() if by[False] and by[True]}
    return max(gaps, key=gaps.__getitem__, default=0.0)


def shown_trials(out: Path) -> list[str]:
    """Names of the trials whose films the report of an evaluation shows; they follow from its numbers."""
    protocol, scores = (read_result(out / name) for name in ("protocol.json", "scores.json"))
    return Album(out, protocol, scores, read_trials(out / "trials.json")).shown()


def chosen(trials: Sequence[Trial], margins: Mapping[int, float]) -> list[tuple[int, str]]:
    """(trial, why) of each property: the median one, the best, the one that went most wrong; occluded where there are."""
    found: list[tuple[int, str]] = []
    for name in dict.fromkeys(trials[index].property for index in margins):
        mine = [index for index in margins if trials[index].property == name]
        locked = [index for index in mine if trials[index].locked is not None] or mine
        order = sorted(locked, key=lambda index: (margins[index], index))
        worst = "worst failure" if margins[order[0]] < 0 else "nearest to failing"
        picks = {order[len(order) // 2]: "median", order[-1]: "best", order[0]: worst}
        found += picks.items()
    # where there are very many properties, each keeps its median
    rank = {"median": 0, "best": 2}
    kept = sorted(range(len(found)), key=lambda place: (rank.get(found[place][1], 1), place))[:MOST_TRIALS]
    return [found[place] for place in sorted(kept)]


def _place_in_grid(film: Film, square: bool) -> tuple[str, str] | bool:
    """Rows of contexts and columns of outcomes, or the possible films first."""
    return (film.context_id, film.outcome_id) if square else film.label is False
