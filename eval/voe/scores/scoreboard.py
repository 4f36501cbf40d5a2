"""Pair scores of every trial by every scorer, and which trials a number is computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from eval.voe.pairs import score_pairs
from eval.voe.scorers import UNTRAINED, Distance, ScorerId, seeds_of
from eval.voe.scores.video_scores import ScorerTrace, traces_by_scorer
from eval.voe.surprise.traces import Traces
from eval.voe.trials import Trial

Values = NDArray[np.float64]
Indices = NDArray[np.int64]
KINDS = ("same context", "same outcome", "matched")
FIELDS = ("property", "visibility", "level", "copy_class", "split")
BALANCED = "balanced"


@dataclass(frozen=True)
class Cell:
    """Which trials a number is computed from. "all" stands for any value.

    Copy class "balanced" is easy and hard trials, each class with weight one half.
    """

    property: str = "all"
    visibility: str = "all"
    level: str = "all"
    copy_class: str = "all"
    split: str = "test"
    spliced: bool = False  # only trials that are spliced


class Scoreboard:
    """Scores of trials by all scorers of an evaluation. Trials, pairs and videos are indices."""

    def __init__(self, trials: Sequence[Trial], traces: Traces, protocol: Mapping[str, Any]) -> None:
        self.trials = trials
        self.video_ids = [video.video_id for trial in trials for video in trial.videos]
        self.first_video = np.cumsum([0, *(len(trial.videos) for trial in trials)])
        self.rows = traces_by_scorer(traces, self.video_ids)
        self.given_context_s: float | None = protocol["chosen"]["context_s"]
        self.shortest_context_s: float = min(protocol["windows"]["contexts_s"], default=0.0)
        present = dict.fromkeys(scorer for _, scorer in self.rows)
        pools = (ScorerId(UNTRAINED, distance) for distance in get_args(Distance))
        self.seeds = {pool: seeds for pool in pools if (seeds := seeds_of(pool, present))}
        self._scores: dict[tuple[str, ScorerId, str, float | None], Values] = {}
        self._contexts: dict[tuple[str, ScorerId], float | None] = {}
        self._strata: dict[Cell, list[Indices]] = {}

    # --- videos and pairs --------------------------------------------------------------------------------------------
    @cached_property
    def pairs(self) -> dict[str, Indices]:
        """By kind: [pairs, 3] of trial, possible video, impossible video."""
        rows: dict[str, list[tuple[int, int, int]]] = {kind: [] for kind in KINDS}
        for index, trial in enumerate(self.trials):
            base = int(self.first_video[index])
            for pair in trial.pairs:
                rows[pair.kind].append((index, base + pair.possible, base + pair.impossible))
        return {kind: np.array(pairs, np.int64) for kind, pairs in rows.items() if pairs}

    @property
    def kinds(self) -> list[str]:
        """The kinds of pair that occur.

        "both", the mean of "same context" and "same outcome", is first if both kinds occur.
        """
        kinds = list(self.pairs)
        return ["both", *kinds] if {"same context", "same outcome"} <= set(kinds) else kinds

    @property
    def main_kind(self) -> str:
        return self.kinds[0]

    def windows(self) -> list[str]:
        """The kinds of window that occur."""
        return [windows for windows in ("locked", "sliding") if any(kind == windows for kind, _ in self.rows)]

    def scorers(self, windows: str) -> list[ScorerId]:
        """The scorers of this kind of window, and the pools of untrained networks."""
        present = [scorer for kind, scorer in self.rows if kind == windows]
        return [*present, *(pool for pool, seeds in self.seeds.items() if set(seeds) & set(present))]

    def seeds_there(self, windows: str, scorer: ScorerId) -> list[ScorerId]:
        """The untrained networks of a pool that scored this kind of window."""
        return [seed for seed in self.seeds.get(scorer, ()) if (windows, seed) in self.rows]

    def trace(self, windows: str, scorer: ScorerId) -> ScorerTrace:
        """The rows of a scorer; for a pool those of its first network."""
        return self.rows[windows, (self.seeds_there(windows, scorer) or [scorer])[0]]

    # --- scores ------------------------------------------------------------------------------------------------------
    def trial_scores(self, windows: str, scorer: ScorerId, kind: str, context_s: float | None) -> Values:
        """[trials]: the mean over a trial's pairs of a kind; NaN where there is none.

        For a pool: the mean over its networks.
        """
        key = (windows, scorer, kind, context_s)
        if key not in self._scores:
            if seeds := self.seeds_there(windows, scorer):
                found = np.mean([self.trial_scores(windows, seed, kind, context_s) for seed in seeds], axis=0)
            else:
                surprise = self.rows[windows, scorer].video_mean(context_s)
                found = self.by_trial(kind, surprise, score_pairs)
            self._scores[key] = found
        return self._scores[key]

    def by_trial(self, kind: str, surprise: Values, pair_score: Callable[[Values, Values], Values]) -> Values:
        """[videos] -> [trials]: the mean of pair_score(possible, impossible) over a trial's pairs."""
        if kind == "both":
            halves = [self.by_trial(half, surprise, pair_score) for half in ("same context", "same outcome")]
            return (halves[0] + halves[1]) / 2
        trial, possible, impossible = self.pairs[kind].T
        total = np.bincount(trial, pair_score(surprise[possible], surprise[impossible]), len(self.trials))
        with np.errstate(invalid="ignore"):
            return total / np.bincount(trial, minlength=len(self.trials))

    def scores(self, windows: str, scorer: ScorerId, kind: str) -> Values:
        """[trials]: scores at the scorer's own context length."""
        return self.trial_scores(windows, scorer, kind, self.context(windows, scorer))

    def by_network(self, windows: str, pool: ScorerId, kind: str, strata: Sequence[Indices]) -> list[Values]:
        """[networks, trials] of each stratum, of the trials that all networks of a pool scored."""
        context = self.context(windows, pool)
        scores = np.stack([self.trial_scores(windows, seed, kind, context) for seed in self.seeds_there(windows, pool)])
        found = (scores[:, trials] for trials in strata)
        finite = (values[:, np.isfinite(values).all(0)] for values in found)
        return [values for values in finite if values.size]

    # --- context length ----------------------------------------------------------------------------------------------
    def context(self, windows: str, scorer: ScorerId) -> float | None:
        """The context length of sliding windows: as given, else best on val, else the shortest.

        Of equally good lengths it is the shortest. None in locked windows, whose context is as long
        as possible.
        """
        key = (windows, scorer)
        if key not in self._contexts:
            self._contexts[key] = self._choose_context(scorer) if windows == "sliding" else None
        return self._contexts[key]

    def _choose_context(self, scorer: ScorerId) -> float:
        lengths = self.trace("sliding", scorer).contexts()
        on_val = self.by_context(scorer, "val") if self.given_context_s is None and len(lengths) > 1 else {}
        if on_val:
            return max(on_val, key=lambda context: (round(on_val[context], 9), -context))
        wanted = self.shortest_context_s if self.given_context_s is None else self.given_context_s
        return min(lengths, key=lambda context: abs(context - wanted))

    def by_context(self, scorer: ScorerId, split: str) -> dict[float, float]:
        """Context length of sliding windows -> mean over the properties of a split."""
        found = {}
        for context in self.trace("sliding", scorer).contexts():
            scores = self.trial_scores("sliding", scorer, self.main_kind, context)
            if strata := in_strata(scores, self.strata(Cell(split=split))):
                found[context] = mean_over_strata(strata)
        return found

    # --- which trials ------------------------------------------------------------------------------------------------
    @cached_property
    def properties(self) -> list[str]:
        return list(dict.fromkeys(trial.property for trial in self.trials))

    @cached_property
    def fields(self) -> dict[str, NDArray[np.object_]]:
        return {name: np.array([getattr(trial, name) for trial in self.trials], object) for name in (*FIELDS, "spliced")}

    def values_of(self, field: str, split: str = "test") -> list[str]:
        """The visibilities, levels or copy classes that a split has."""
        return sorted({*self.fields[field][self.fields["split"] == split]} - {""})

    def strata(self, cell: Cell) -> list[Indices]:
        """The trials of a cell by property (and copy class, if "balanced"), without empty strata."""
        if cell not in self._strata:
            self._strata[cell] = self._find_strata(cell)
        return self._strata[cell]

    def _find_strata(self, cell: Cell) -> list[Indices]:
        if cell.property == "all":
            return [trials for name in self.properties for trials in self.strata(replace(cell, property=name))]
        if cell.copy_class == BALANCED:
            halves = [self.strata(replace(cell, copy_class=name)) for name in ("easy", "hard")]
            return [*halves[0], *halves[1]] if all(halves) else []
        keep = self.fields["split"] == cell.split
        for name in ("property", "visibility", "level", "copy_class"):
            if (wanted := getattr(cell, name)) != "all":
                keep = keep & (self.fields[name] == wanted)
        if cell.spliced:
            keep = keep & self.fields["spliced"].astype(bool)
        return [trials] if len(trials := np.flatnonzero(keep)) else []


def in_strata(scores: Values, strata: Sequence[Indices]) -> list[Values]:
    """Scores [trials] of each stratum, without missing ones and empty strata."""
    found = (scores[trials] for trials in strata)
    finite = (values[np.isfinite(values)] for values in found)
    return [values for values in finite if len(values)]


def mean_over_strata(strata: Sequence[Values]) -> float:
    """The mean over strata of their means."""
    return float(np.mean([values.mean() for values in strata]))
