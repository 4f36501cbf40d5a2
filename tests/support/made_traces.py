"""Trials and traces that are made up, so that their scores can be worked by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.voe.pairs import QUADRUPLET, SAME_CONTEXT, SAME_OUTCOME
from eval.voe.scorers import ScorerId
from eval.voe.surprise.traces import TraceBlock, Traces, write_traces
from eval.voe.trials import Pair, Trial, Video

PAIRS = tuple(Pair("same context", *p) for p in SAME_CONTEXT) + tuple(Pair("same outcome", *p) for p in SAME_OUTCOME)
PROTOCOL: dict[str, Any] = {
    "model": {"spec": "runs/it", "name": "it"},
    "windows": {"contexts_s": [0.5, 1.0]},
    "chosen": {"context_s": None, "by": "val"},
}
Rows = Sequence[tuple[str, str, str, float, float, Sequence[float], Sequence[float]]]


def quadruplet(name: str, property_: str = "permanence", **more: Any) -> Trial:
    videos = tuple(Video(f"{name}-{c}{o}", "x.mp4", 10.0, 30, (c, o) in QUADRUPLET[:2], c, o) for c, o in QUADRUPLET)
    fields: dict[str, Any] = {"visibility": "occluded", "spliced": True, "locked_cuts": (12, 14), **more}
    return Trial(name, videos, PAIRS, property_, **fields)


def couple(name: str, **more: Any) -> Trial:
    videos = (Video(f"{name}-0", "x.mp4", 10.0, 30, False), Video(f"{name}-1", "x.mp4", 10.0, 30, True))
    return Trial(name, videos, (Pair("matched", 1, 0),), "gravity", **more)


def traces_of(folder: Path, rows: Rows) -> Traces:
    """(video, scorer, windows, start_s, context_s, times_s, surprise)."""
    blocks = [
        TraceBlock(
            [video], ScorerId.parse(scorer), windows, start, context, np.array(times, float), np.array([surprise], float)
        )
        for video, scorer, windows, start, context, times, surprise in rows
    ]
    write_traces(folder / "traces.parquet", blocks)
    return Traces.open(folder / "traces.parquet")


def one_number(folder: Path, trials: Sequence[Trial], surprise: Mapping[str, Callable], windows: str = "locked") -> Traces:
    """Traces with one window of one step per video: scorer -> surprise(trial) [videos]."""
    ids = [video.video_id for trial in trials for video in trial.videos]
    blocks = []
    for scorer, of in surprise.items():
        values = np.concatenate([np.asarray(of(trial), float) for trial in trials])
        blocks.append(TraceBlock(ids, ScorerId.parse(scorer), windows, 0.0, 0.5, np.array([0.5]), values[:, None]))
    write_traces(folder / "traces.parquet", blocks)
    return Traces.open(folder / "traces.parquet")


def cell(scores: dict, windows: str, scorer: str, name: str = "all", kind: str = "both", **at: str) -> dict:
    by = scores["tree"][windows][scorer][name][at.get("visibility", "all")][at.get("level", "all")]
    return by[at.get("copy_class", "all")][kind]
