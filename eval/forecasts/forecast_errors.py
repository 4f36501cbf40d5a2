"""Errors of a model's forecasts by horizon: of latents, and of the body's position where videos
have a ground truth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.forecasts.skill import others_mean
from eval.probes.clips import read_clips
from eval.probes.constant_velocity import CONSTANT_VELOCITY, MIN_VISIBLE_STEPS, extrapolate, last_seen_position
from eval.probes.dataset import BATCH_CLIPS, ProbeData
from eval.probes.evaluation import ProbeTask
from eval.probes.latents import ClipLatents, to_numpy
from eval.probes.targets import PROBE_TARGETS
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel, direct_horizon, window_frames

OPEN_LOOP, DIRECT = "open loop", "direct"
COPY_LAST, LINEAR, MEAN = "copy last", "linear extrapolation", "mean"
LAST_SEEN, TARGET = "last seen position", "target latents"

Errors = dict[str, NDArray[np.float64]]
"""By forecast or baseline: [F, K], NaN where not scored."""


@dataclass(frozen=True)
class Forecasts:
    """Latents of F clips: of the context, and by forecast or baseline of the K steps after it."""

    context: NDArray[np.float32]  # [F, C, N, D]
    target: NDArray[np.float32]  # [F, K, N, D]
    by_name: dict[str, NDArray[np.float32]]  # [F, K, N, D] each


@torch.no_grad()
def make_forecasts(model: WorldModel, clips: list[Clip], context_steps: int, steps: int, device: torch.device) -> Forecasts:
    """Encode each clip and forecast the steps after its context.

    The context is encoded alone, without the frames after it.
    """
    f, ahead = model.tubelet_size, steps - context_steps
    contexts, targets, parts = [], [], defaultdict(list)
    with bar("videos", len(clips)) as progress:
        for first in range(0, len(clips), BATCH_CLIPS):
            batch = clips[first : first + BATCH_CLIPS]
            frames = torch.from_numpy(read_clips(batch, model.fps, model.size_px, steps * f, [0] * len(batch))).to(device)
            pixels = model.normalise(frames)
            context = pixels[:, : context_steps * f]
            contexts.append(to_numpy(model.encode(context)))
            target = torch.cat([model.encode(part) for part in pixels.split(window_frames(model), 1)], 1)[:, context_steps:]
            targets.append(to_numpy(target))
            parts[OPEN_LOOP].append(to_numpy(model.rollout(context, ahead)))
            direct = to_numpy(model.forecast(context, min(ahead, direct_horizon(model, context_steps * f))))
            beyond = ((0, 0), (0, ahead - direct.shape[1]), (0, 0), (0, 0))
            parts[DIRECT].append(np.pad(direct, beyond, constant_values=np.nan))
            progress.step(len(batch))
    context_latents, target_latents = np.concatenate(contexts), np.concatenate(targets)
    by_name = {name: np.concatenate(some) for name, some in parts.items()}
    last, before = context_latents[:, -1:], context_latents[:, -2:][:, :1]
    k = np.arange(1, ahead + 1, dtype=np.float32)[:, None, None]
    by_name[COPY_LAST] = np.repeat(last, ahead, axis=1)
    by_name[LINEAR] = last + k * (last - before)
    by_name[MEAN] = others_mean(target_latents).astype(np.float32)
    return Forecasts(context_latents, target_latents, by_name)


def latent_errors(model: WorldModel, forecasts: Forecasts) -> Errors:
    """The model's own distance to the target latents, mean over tokens: [F, K] by forecast."""
    target = torch.from_numpy(forecasts.target)
    return {
        name: model.distance(torch.from_numpy(latents), target).mean(-1).double().numpy()
        for name, latents in forecasts.by_name.items()
    }


def position_errors(data: ProbeData, forecasts: Forecasts, context_steps: int, device: torch.device) -> Errors:
    """Distance in px between the position that a probe reads and the true one: [F, K].

    NaN where the body is not visible, or was not visible long enough in the context.

    The probe is fitted on target latents of other clips. Baselines from the ground truth: the last
    seen position, constant velocity, and the mean position in other clips at the same time.
    """
    clip = np.arange(len(data.clips))
    centre, visible = data.truth.body_track()
    scored = visible[:, context_steps:] & (visible[:, :context_steps].sum(1) >= MIN_VISIBLE_STEPS)[:, None]
    task = ProbeTask.create(data.truth, PROBE_TARGETS["position"], "linear", device)
    probe = task.fit_probe(ClipLatents(np.concatenate([forecasts.context, forecasts.target], axis=1), {}, {}))
    horizons = range(scored.shape[1])
    sources = {TARGET: forecasts.target, **forecasts.by_name}
    positions = {name: np.stack([probe(latents[:, [k]], clip) for k in horizons], axis=1) for name, latents in sources.items()}
    known = np.flatnonzero(scored.any(1))
    for name in (LAST_SEEN, CONSTANT_VELOCITY):
        positions[name] = np.full_like(centre[:, context_steps:], np.nan)
    for k in horizons:
        context = centre[known, :context_steps], visible[known, :context_steps]
        positions[CONSTANT_VELOCITY][known, k] = extrapolate(*context, k + 1)[0]
        positions[LAST_SEEN][known, k] = last_seen_position(*context)
    true = centre[:, context_steps:]
    positions[MEAN] = others_mean_position(np.where(scored[..., None], true, np.nan))
    return {name: np.where(scored, np.linalg.norm(some - true, axis=2), np.nan) for name, some in positions.items()}


def others_mean_position(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over all other clips at the same step: [F, K, 2], NaN where not scored ->
    [F, K, 2]."""
    known = np.isfinite(positions)
    total, count = np.where(known, positions, 0).sum(0), known.sum(0)
    with np.errstate(invalid="ignore"):
        return (total - np.where(known, positions, 0)) / np.where(count - known > 0, count - known, np.nan)
