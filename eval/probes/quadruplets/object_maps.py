"""Object maps: a coarse, exact description of the visible objects of a picture, the same for every
property; and a probe that predicts it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from eval.errors import EvalError
from eval.probes.clips import choose_clips, equally_long, open_possible, source_frames
from eval.probes.dataset import MODEL, collect_latents
from eval.probes.fitting.linear import LinearProbe, fit_ridge
from eval.probes.ground_truth import read_ground_truth, read_segmentation
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
GRID = 8  # cells per side
FIT_EVERY = 2  # every N-th step of a possible video is fitted, because neighbouring steps are similar


def object_map(segmentation: NDArray[np.uint8], colour_rgb: Values) -> Values:
    """Fraction of each cell that objects cover, and that fraction times their red, green and blue.

    segmentation [T, H, W], colour_rgb [O, 3] -> [T, GRID * GRID * 4].
    """
    frames, height, width = segmentation.shape
    if height % GRID or width % GRID:
        raise EvalError(f"videos of {width} x {height} px cannot be cut into {GRID} x {GRID} cells; make them at 64 or 128 px")
    cells = segmentation.reshape(frames, GRID, height // GRID, GRID, width // GRID)
    found = np.zeros((frames, GRID, GRID, 4))
    for index, colour in enumerate(colour_rgb):
        covered = (cells == index + 1).mean((2, 4))
        found += covered[..., None] * np.array([1.0, *colour])
    return found.reshape(frames, -1)


def side(predicted: Values, truth: Values, other: Values) -> float:
    """Position on the line between two maps of one shape: 1 at the truth, -1 at the other.

    0 is half way. NaN where the two maps do not differ.
    """
    distance = float(np.square(truth - other).sum())
    if not distance > 0:
        return np.nan
    return float((np.square(predicted - other).sum() - np.square(predicted - truth).sum()) / distance)


def contrast(predicted: Values, truth: Values) -> float:
    """Difference of two predictions along the difference of their ground truths, as a fraction of it:
    [2, ...] twice.

    1 is the same difference, 0 none. A bias common to both predictions cancels. NaN where the
    ground truths do not differ.
    """
    direction = truth[0] - truth[1]
    size = float(np.square(direction).sum())
    return float(((predicted[0] - predicted[1]) * direction).sum() / size) if size > 0 else np.nan


def fit_map_probes(
    nets: Mapping[str, WorldModel], data: str, split: str, limit: int | None, device: torch.device
) -> dict[str, LinearProbe]:
    """By network: a probe from one latent step [R, 1, N, D] to the object map, fitted on possible
    videos."""
    model = nets[MODEL]
    f = model.tubelet_size
    clips, steps = equally_long(choose_clips(open_possible(data), split, limit), model, 1)
    latents = collect_latents("possible videos", nets, [(clips, {})], steps * f, device)[0]
    fitted = np.arange(0, steps, FIT_EVERY)
    clip, step = np.repeat(np.arange(len(clips)), len(fitted)), np.tile(fitted, len(clips))
    maps = np.concatenate([maps_of_clip(clip, steps, model)[fitted] for clip in clips])
    return {name: fit_ridge(it.target_at(clip, step, 1), maps, clip) for name, it in latents.items()}


def maps_of_clip(clip: Clip, steps: int, model: WorldModel) -> Values:
    """Object maps at the last frame of each latent step: [S, GRID * GRID * 4]."""
    f, truth = model.tubelet_size, read_ground_truth(clip)
    frames = source_frames(steps * f, model.fps, clip)[f - 1 :: f].clip(max=truth.frames - 1)
    assert clip.truth is not None
    return object_map(read_segmentation(clip.truth)[frames], truth.colour_rgb)
