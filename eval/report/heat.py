"""Heat maps of an evaluation, one file for each video in OUT/maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.npz_files import load_arrays
from eval.report.player import HeatMap
from eval.voe.scores.video_scores import SAME_S
from worldmodel.files.file_names import file_name_for

Maps = Mapping[str, NDArray[np.floating]]  # as `Judge.maps` has them


def read_maps(out: Path, film_id: str) -> Maps:
    """Empty where there are none of this video. Raises EvalError where the file is damaged."""
    path = out / "maps" / file_name_for(film_id, ".npz")
    return load_arrays(path) if path.is_file() else {}


def heat_map(maps: Maps, windows: str, scorer: str, context_s: float | None, step_s: float) -> HeatMap | None:
    """The mean over the windows of a kind that see so much (any, for None), as the curve is; None where no map was kept."""
    if f"{windows}/{scorer}" not in maps:
        return None
    values, cut_s, seen_s = (maps[f"{windows}/{name}"] for name in (scorer, "cut_s", "context_s"))
    same = np.full(len(values), True) if context_s is None else np.abs(seen_s - context_s) < SAME_S
    return mean_map(values[same], cut_s[same], step_s)


def mean_map(maps: NDArray[np.floating], cut_s: NDArray[np.floating], step_s: float) -> HeatMap:
    """Maps of windows [W, S, N] whose first step is at `cut_s` [W] -> one over time: the mean of what is judged then."""
    windows, steps, places = maps.shape
    moments = np.round(np.asarray(cut_s, float)[:, None] + np.arange(steps) * step_s, 5).ravel()
    values = np.asarray(maps, float).reshape(windows * steps, places)
    judged = np.isfinite(values).all(1)
    times, place = np.unique(moments[judged], return_inverse=True)
    total = np.zeros((len(times), places))
    np.add.at(total, place, values[judged])
    return HeatMap(times.tolist(), total / np.bincount(place, minlength=len(times))[:, None])
