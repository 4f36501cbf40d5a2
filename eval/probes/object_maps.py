"""The object map: what a film shows of its objects, coarse, exact, and the same for every property; and a probe for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.probes.clips import alike, choose, open_lawful, shown_frames
from eval.probes.gathering import MODEL, gather
from eval.probes.ground_truth import read_segmentation, read_truth
from eval.probes.linear import LinearProbe, fit_ridge
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
GRID = 8  # cells a side
FIT_EVERY = 2  # of the steps of a lawful film one in so many is fitted: neighbours look alike


def object_map(segmentation: NDArray[np.uint8], colour_rgb: Values) -> Values:
    """[T, H, W] and [O, 3] -> [T, GRID * GRID * 4]: coverage by objects, and coverage times red, green, blue, by cell."""
    frames, height, width = segmentation.shape
    if height % GRID or width % GRID:
        raise EvalError(f"films of {width} x {height} px cannot be cut into {GRID} x {GRID} cells; make them at 64 or 128 px")
    cells = segmentation.reshape(frames, GRID, height // GRID, GRID, width // GRID)
    found = np.zeros((frames, GRID, GRID, 4))
    for index, colour in enumerate(colour_rgb):
        share = (cells == index + 1).mean((2, 4))
        found += share[..., None] * np.array([1.0, *colour])
    return found.reshape(frames, -1)


def side(reading: Values, truth: Values, other: Values) -> float:
    """1 where a reading is the truth, -1 where it is the other, 0 half way; NaN where they do not differ. Any equal shapes."""
    apart = float(np.square(truth - other).sum())
    return float((np.square(reading - other).sum() - np.square(reading - truth).sum()) / apart) if apart > 0 else np.nan


def contrast(reading: Values, truth: Values) -> float:
    """How two readings differ, as a share of how the two truths do, along that: 1 alike, 0 not at all; [2, ...] twice.

    What is common to both readings, such as a leaning to what is usual, cancels. NaN where the truths do not differ.
    """
    apart = truth[0] - truth[1]
    size = float(np.square(apart).sum())
    return float(((reading[0] - reading[1]) * apart).sum() / size) if size > 0 else np.nan


def fit_maps(
    nets: Mapping[str, WorldModel], data: str, split: str, limit: int | None, device: torch.device
) -> dict[str, LinearProbe]:
    """By network: a probe from one latent [R, 1, N, D] to the object map, fitted on lawful films."""
    model = nets[MODEL]
    f = model.tubelet_size
    clips, steps = alike(choose(open_lawful(data), split, limit), model, 1)
    recordings = gather("lawful films", nets, [(clips, {})], steps * f, device)[0]
    step = np.arange(0, steps, FIT_EVERY)
    film, at = np.repeat(np.arange(len(clips)), len(step)), np.tile(step, len(clips))
    maps = np.concatenate([maps_of(clip, steps, model)[step] for clip in clips])
    return {name: fit_ridge(recording.at(film, at, 1), maps, film) for name, recording in recordings.items()}


def maps_of(clip: Clip, steps: int, model: WorldModel) -> Values:
    """Object maps at the end of each latent step [S, M]."""
    f, truth = model.tubelet_size, read_truth(clip)
    shown = shown_frames(steps * f, model.fps, clip)[f - 1 :: f].clip(max=truth.frames - 1)
    assert clip.truth is not None
    return object_map(read_segmentation(clip.truth)[shown], truth.colour_rgb)
