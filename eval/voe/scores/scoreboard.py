"""Pair scores of every trial by every scorer, and which trials a number is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.voe.pairs import compare
from eval.voe.scorers import MEASURED, UNTRAINED, seeds_of
from eval.voe.scores.video_scores import ScorerTrace, by_scorer
from eval.voe.surprise.traces import Traces
from eval.voe.trials import Trial

Values = NDArray[np.float64]
Places = NDArray[np.int64]
KINDS = ("same context", "same outcome", "matched")
FIELDS = ("property", "visibility", "level", "copy_class", "split")
BALANCED = "balanced"


@dataclass(frozen=True)
class Cell:
    """Which trials a number is of. "all" stands for any; copy class "balanced" is easy and hard, each counting a half."""

    property: str = "all"
    visibility: str = "all"
    level: str = "all"
    copy_class: str = "all"
    split: str = "test"
    spliced: bool = False  # only trials that are


class Scoreboard:
    """What scorers say of trials. Trials, pairs and films by their place."""

    def __init__(self, trials: Sequence[Trial], traces: Traces, protocol: Mapping[str, Any]) -> None:
        self.trials = trials
        self.film_ids = [film.film_id for trial in trials for film in trial.films]
        self.first_film = np.cumsum([0, *(len(trial.films) for trial in trials)])
        self.rows = by_scorer(traces, self.film_ids)
        self.given_s: float | None = protocol["chosen"]["context_s"]
        self.first_s: float = min(protocol["windows"]["contexts_s"], default=0.0)
        there = dict.fromkeys(scorer for _, scorer in self.rows)
        self.seeds = {pool: seeds for pool in (UNTRAINED + measure for measure in MEASURED) if (seeds := seeds_of(pool, there))}
        self._scores: dict[tuple[str, str, str, float | None], Values] = {}
        self._contexts: dict[tuple[str, str], float | None] = {}
        self._strata: dict[Cell, list[Places]] = {}

    # --- films and pairs ---------------------------------------------------------------------------------------------
    @cached_property
    def pairs(self) -> dict[str, Places]:
        """By kind: [pairs, 3] of trial, possible film, impossible film."""
        rows: dict[str, list[tuple[int, int, int]]] = {kind: [] for kind in KINDS}
        for index, trial in enumerate(self.trials):
            base = int(self.first_film[index])
            for pair in trial.pairs:
                rows[pair.kind].append((index, base + pair.possible, base + pair.impossible))
        return {kind: np.array(pairs, np.int64) for kind, pairs in rows.items() if pairs}

    @property
    def kinds(self) -> list[str]:
        """Kinds of pair that occur, "both" first where there are the two that it is the mean of."""
        there = list(self.pairs)
        return ["both", *there] if {"same context", "same outcome"} <= set(there) else there

    @property
    def main_kind(self) -> str:
        return self.kinds[0]

    def windows(self) -> list[str]:
        return [windows for windows in ("locked", "free") if any(kind == windows for kind, _ in self.rows)]

    def scorers(self, windows: str) -> list[str]:
        """Who judged windows of this kind, and the pool of untrained networks."""
        there = [scorer for kind, scorer in self.rows if kind == windows]
        return [*there, *(pool for pool, seeds in self.seeds.items() if set(seeds) & set(there))]

    def seeds_there(self, windows: str, scorer: str) -> list[str]:
        """The untrained networks of a pool that judged windows of this kind; none for any other scorer."""
        return [seed for seed in self.seeds.get(scorer, ()) if (windows, seed) in self.rows]

    def trace(self, windows: str, scorer: str) -> ScorerTrace:
        """Rows of a scorer; of a pool, those of its first network."""
        return self.rows[windows, (self.seeds_there(windows, scorer) or [scorer])[0]]

    # --- scores ------------------------------------------------------------------------------------------------------
    def trial_scores(self, windows: str, scorer: str, kind: str, context_s: float | None) -> Values:
        """[trials]: mean over a trial's pairs of a kind; NaN where a film is missing or there is no such pair.

        Of a pool: the mean over its networks.
        """
        key = (windows, scorer, kind, context_s)
        if key not in self._scores:
            if seeds := self.seeds_there(windows, scorer):
                found = np.mean([self.trial_scores(windows, seed, kind, context_s) for seed in seeds], axis=0)
            else:
                surprise = self.rows[windows, scorer].film_mean(context_s)
                found = self.by_trial(kind, surprise, compare)
            self._scores[key] = found
        return self._scores[key]

    def by_trial(self, kind: str, surprise: Values, right: Callable[[Values, Values], Values]) -> Values:
        """[films] -> [trials]: mean over a trial's pairs of a kind of right(possible, impossible)."""
        if kind == "both":
            halves = [self.by_trial(half, surprise, right) for half in ("same context", "same outcome")]
            return (halves[0] + halves[1]) / 2
        trial, possible, impossible = self.pairs[kind].T
        total = np.bincount(trial, right(surprise[possible], surprise[impossible]), len(self.trials))
        with np.errstate(invalid="ignore"):
            return total / np.bincount(trial, minlength=len(self.trials))

    def scores(self, windows: str, scorer: str, kind: str) -> Values:
        """Trial scores at the context length that the scorer is judged by."""
        return self.trial_scores(windows, scorer, kind, self.context(windows, scorer))

    def by_network(self, windows: str, pool: str, kind: str, strata: Sequence[Places]) -> list[Values]:
        """[networks, trials] of each stratum, of the trials that all networks of a pool judged; empty strata left out."""
        context = self.context(windows, pool)
        scores = np.stack([self.trial_scores(windows, seed, kind, context) for seed in self.seeds_there(windows, pool)])
        found = (scores[:, places] for places in strata)
        kept = (values[:, np.isfinite(values).all(0)] for values in found)
        return [values for values in kept if values.size]

    # --- context length ----------------------------------------------------------------------------------------------
    def context(self, windows: str, scorer: str) -> float | None:
        """Of free windows: as given, else the best on split val, the shortest of equals; without val the shortest of the
        protocol. None in locked windows, which show all there is."""
        key = (windows, scorer)
        if key not in self._contexts:
            self._contexts[key] = self._context(scorer) if windows == "free" else None
        return self._contexts[key]

    def _context(self, scorer: str) -> float:
        there = self.trace("free", scorer).contexts()
        on_val = self.by_context(scorer, "val") if self.given_s is None and len(there) > 1 else {}
        if on_val:
            return max(on_val, key=lambda context: (round(on_val[context], 9), -context))
        wanted = self.first_s if self.given_s is None else self.given_s
        return min(there, key=lambda context: abs(context - wanted))

    def by_context(self, scorer: str, split: str) -> dict[float, float]:
        """Context length of free windows -> mean over properties of a split; empty where the split is."""
        found = {}
        for context in self.trace("free", scorer).contexts():
            scores = self.trial_scores("free", scorer, self.main_kind, context)
            if strata := in_strata(scores, self.strata(Cell(split=split))):
                found[context] = mean_of(strata)
        return found

    # --- which trials ------------------------------------------------------------------------------------------------
    @cached_property
    def properties(self) -> list[str]:
        return list(dict.fromkeys(trial.property for trial in self.trials))

    @cached_property
    def fields(self) -> dict[str, NDArray[np.object_]]:
        return {name: np.array([getattr(trial, name) for trial in self.trials], object) for name in (*FIELDS, "spliced")}

    def named(self, field: str, split: str = "test") -> list[str]:
        """Which visibilities, levels or copy classes a split has."""
        return sorted({*self.fields[field][self.fields["split"] == split]} - {""})

    def strata(self, cell: Cell) -> list[Places]:
        """Trials of a cell, by property, and by copy class where that is "balanced"; properties without are left out."""
        if cell not in self._strata:
            self._strata[cell] = self._find(cell)
        return self._strata[cell]

    def _find(self, cell: Cell) -> list[Places]:
        if cell.property == "all":
            return [places for name in self.properties for places in self.strata(replace(cell, property=name))]
        if cell.copy_class == BALANCED:
            halves = [self.strata(replace(cell, copy_class=name)) for name in ("easy", "hard")]
            return [*halves[0], *halves[1]] if all(halves) else []
        keep = self.fields["split"] == cell.split
        for name in ("property", "visibility", "level", "copy_class"):
            if (wanted := getattr(cell, name)) != "all":
                keep = keep & (self.fields[name] == wanted)
        if cell.spliced:
            keep = keep & self.fields["spliced"].astype(bool)
        return [places] if len(places := np.flatnonzero(keep)) else []


def in_strata(scores: Values, strata: Sequence[Places]) -> list[Values]:
    """Scores [trials] of each stratum, without trials that have none and strata that then are empty."""
    found = (scores[places] for places in strata)
    kept = (values[np.isfinite(values)] for values in found)
    return [values for values in kept if len(values)]


def mean_of(strata: Sequence[Values]) -> float:
    """Mean over strata of their means."""
    return float(np.mean([values.mean() for values in strata]))
