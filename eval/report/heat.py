"""Heat maps of an evaluation: one file for each video in OUT/maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.npz_files import load_arrays
from eval.report.player import HeatMap
from eval.voe.scores.video_scores import TIME_TOLERANCE_S
from worldmodel.files.file_names import safe_file_name

Maps = Mapping[str, NDArray[np.floating]]
"""Arrays by name, as `SurpriseScorer.surprise_maps` makes them."""


def read_maps(out: Path, video_id: str) -> Maps:
    """Maps of a video; empty if there are none. Raises EvalError for a damaged file."""
    path = out / "maps" / safe_file_name(video_id, ".npz")
    return load_arrays(path) if path.is_file() else {}


def heat_map(maps: Maps, windows: str, scorer: str, context_s: float | None, step_s: float) -> HeatMap | None:
    """The mean over the same windows as the curve: those of one kind and context length (None: any length).

    None if no map was stored.
    """
    if f"{windows}/{scorer}" not in maps:
        return None
    values, cut_s, window_context_s = (maps[f"{windows}/{name}"] for name in (scorer, "cut_s", "context_s"))
    same = np.full(len(values), True) if context_s is None else np.abs(window_context_s - context_s) < TIME_TOLERANCE_S
    return mean_map(values[same], cut_s[same], step_s)


def mean_map(maps: NDArray[np.floating], cut_s: NDArray[np.floating], step_s: float) -> HeatMap:
    """Mean over windows at each time. maps [W, S, N]: S steps of N tokens in W windows, the first at `cut_s` [W]."""
    windows, steps, tokens = maps.shape
    times = np.round(np.asarray(cut_s, float)[:, None] + np.arange(steps) * step_s, 5).ravel()
    values = np.asarray(maps, float).reshape(windows * steps, tokens)
    valid = np.isfinite(values).all(1)
    distinct, index = np.unique(times[valid], return_inverse=True)
    total = np.zeros((len(distinct), tokens))
    np.add.at(total, index, values[valid])
    return HeatMap(distinct.tolist(), total / np.bincount(index, minlength=len(distinct))[:, None])
