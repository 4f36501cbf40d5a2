"""Trials and traces that are made up, so that their scores can be worked by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.voe.pairs import FILMS, SAME_CONTEXT, SAME_OUTCOME
from eval.voe.surprise.traces import Block, Traces, write_traces
from eval.voe.trials import Film, Pair, Trial

PAIRS = tuple(Pair("same context", *p) for p in SAME_CONTEXT) + tuple(Pair("same outcome", *p) for p in SAME_OUTCOME)
PROTOCOL: dict[str, Any] = {
    "model": {"spec": "runs/it", "name": "it"},
    "windows": {"contexts_s": [0.5, 1.0]},
    "chosen": {"context_s": None, "by": "val"},
}
Rows = Sequence[tuple[str, str, str, float, float, Sequence[float], Sequence[float]]]


def quadruplet(name: str, property_: str = "permanence", **more: Any) -> Trial:
    films = tuple(Film(f"{name}-{c}{o}", "x.mp4", 10.0, 30, (c, o) in FILMS[:2], c, o) for c, o in FILMS)
    said: dict[str, Any] = {"visibility": "occluded", "spliced": True, "locked": (12, 14), **more}
    return Trial(name, films, PAIRS, property_, **said)


def couple(name: str, **more: Any) -> Trial:
    films = (Film(f"{name}-0", "x.mp4", 10.0, 30, False), Film(f"{name}-1", "x.mp4", 10.0, 30, True))
    return Trial(name, films, (Pair("matched", 1, 0),), "gravity", **more)


def traces_of(folder: Path, rows: Rows) -> Traces:
    """(film, scorer, windows, start_s, context_s, times_s, surprise)."""
    blocks = [
        Block([film], scorer, windows, start, context, np.array(times, float), np.array([surprise], float))
        for film, scorer, windows, start, context, times, surprise in rows
    ]
    write_traces(folder / "traces.parquet", blocks)
    return Traces.open(folder / "traces.parquet")


def one_number(folder: Path, trials: Sequence[Trial], surprise: Mapping[str, Callable], windows: str = "locked") -> Traces:
    """Every film as one window of one step: scorer -> surprise(trial, films) [films]."""
    ids = [film.film_id for trial in trials for film in trial.films]
    blocks = []
    for scorer, of in surprise.items():
        values = np.concatenate([np.asarray(of(trial), float) for trial in trials])
        blocks.append(Block(ids, scorer, windows, 0.0, 0.5, np.array([0.5]), values[:, None]))
    write_traces(folder / "traces.parquet", blocks)
    return Traces.open(folder / "traces.parquet")


def cell(scores: dict, windows: str, scorer: str, name: str = "all", kind: str = "both", **at: str) -> dict:
    by = scores["tree"][windows][scorer][name][at.get("visibility", "all")][at.get("level", "all")]
    return by[at.get("copy_class", "all")][kind]
