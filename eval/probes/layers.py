"""Linear probes of every layer that a model exposes (Layered): in which layer is a property
encoded?

Layers are wide, and time steps of one clip are similar. Tokens are therefore averaged to a grid of at most
MAX_GRID x MAX_GRID, features beyond 256 are projected on as many fixed random directions, and a
probe is fitted and scored on at most STEPS_PER_CLIP steps of a clip. Scores can be compared with
one another, but not with those of `encoded`. The output and raw pixels are among the layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from data_prep.progress import bar
from eval.errors import EvalError
from eval.probes.clips import read_clips
from eval.probes.dataset import BATCH_CLIPS, PIXELS, ProbeData
from eval.probes.evaluation import ProbeTask, evaluate_encoded
from eval.probes.latents import ClipLatents, concatenate, to_numpy
from eval.probes.results import BySource, LayerResults, ScoreJson, score_json
from eval.probes.targets import PROBE_TARGETS
from eval.voe.surprise.whitening import MAX_FEATURES, project_features
from worldmodel.models.world_model import Layered, WorldModel, window_frames

MAX_GRID = 8  # tokens per side
STEPS_PER_CLIP = 4
Latents = NDArray[np.float32]
REDUCTION = (
    f"tokens averaged to at most {MAX_GRID} x {MAX_GRID}, features beyond {MAX_FEATURES} projected on random directions, at "
    f"most {STEPS_PER_CLIP} time steps per video"
)


def check_layered(nets: Mapping[str, WorldModel], spec: str) -> None:
    """Raise EvalError for a model that does not expose its layers."""
    if not all(isinstance(net, Layered) for net in nets.values()):
        raise EvalError(
            f"--layers: {spec} does not expose its layers; it needs a method `layers` (see worldmodel.models.world_model)"
        )


def layer_latents(net: WorldModel, frames: Tensor) -> dict[str, Latents]:
    """Reduced latents of each layer: uint8 [F, T, H, W, 3] -> [F, S, N', D'] by layer."""
    assert isinstance(net, Layered)
    parts = [net.layers(part) for part in net.normalise(frames).split(window_frames(net), 1)]
    return {name: to_numpy(project_features(coarse(torch.cat([part[name] for part in parts], 1)))) for name in parts[0]}


def coarse(latents: Tensor) -> Tensor:
    """Average a square grid of tokens to at most MAX_GRID x MAX_GRID: [F, S, N, D] ->
    [F, S, N', D]."""
    side = isqrt(latents.shape[2])
    if side * side != latents.shape[2] or side <= MAX_GRID:
        return latents
    clips = latents.shape[0]
    grid = rearrange(latents, "f s (h w) d -> (f s) d h w", h=side)
    return rearrange(F.adaptive_avg_pool2d(grid, MAX_GRID), "(f s) d h w -> f s (h w) d", f=clips)


@torch.no_grad()
def collect_layers(nets: Mapping[str, WorldModel], data: ProbeData, device: torch.device) -> dict[str, dict[str, ClipLatents]]:
    """Target latents by layer, then network."""
    model = next(iter(nets.values()))
    parts: dict[str, dict[str, list[ClipLatents]]] = {}
    with bar("layers", len(data.clips)) as progress:
        for first in range(0, len(data.clips), BATCH_CLIPS):
            batch = data.clips[first : first + BATCH_CLIPS]
            frames = read_clips(batch, model.fps, model.size_px, data.frames, [0] * len(batch))
            for name, net in nets.items():
                for layer, latents in layer_latents(net, torch.from_numpy(frames).to(device)).items():
                    parts.setdefault(layer, {}).setdefault(name, []).append(ClipLatents(latents, {}, {}))
            progress.step(len(batch))
    return {layer: {name: concatenate(some) for name, some in by_net.items()} for layer, by_net in parts.items()}


def probe_layers(
    nets: Mapping[str, WorldModel], data: ProbeData, pixels: ClipLatents, device: torch.device
) -> tuple[LayerResults, list[str]]:
    """Probe every property in every layer, with raw pixels as one more layer.

    Returns the results and notes.
    """
    latents = {**collect_layers(nets, data, device), PIXELS: {PIXELS: pixels}}
    tasks = [subsample_steps(ProbeTask.create(data.truth, prop, "linear", device)) for prop in PROBE_TARGETS.values()]
    scores: dict[str, dict[str, BySource]] = {}
    notes: list[str] = []
    with bar("probes of layers", len(tasks) * len(latents)) as progress:
        for task in tasks:
            name = task.prop.name
            try:
                for layer, by_net in latents.items():
                    found = evaluate_encoded(task, by_net)[0]
                    scores.setdefault(name, {})[layer] = {net: score_json(score) for net, score in found.items()}
                    progress.step()
            except EvalError as error:
                scores.pop(name, None)
                notes.append(f"{name}, by layer: left out, {error}.")
                progress.step(len(latents))
    return layer_results(scores, list(latents)), [*notes, *layer_notes(list(latents))]


def layer_results(scores: Mapping[str, Mapping[str, Mapping[str, ScoreJson]]], layers: list[str]) -> LayerResults:
    return {"names": [layer for layer in layers if layer != PIXELS], "scores": scores}


def layer_notes(layers: list[str]) -> list[str]:
    """A note where the encoder has no blocks."""
    if any(name.startswith("block ") for name in layers):
        return []
    return ["By layer: this encoder has no blocks; its layers are the embedding of patches and the output."]


def subsample_steps(task: ProbeTask) -> ProbeTask:
    """The same task on at most STEPS_PER_CLIP steps of each clip, evenly spread over those with the
    property defined."""
    clip, step = task.target_rows()
    values = np.full_like(task.values, np.nan)
    for number in np.unique(clip):
        steps = step[clip == number]
        chosen = steps[np.unique(np.linspace(0, len(steps) - 1, STEPS_PER_CLIP).round().astype(int))]
        values[number, chosen] = task.values[number, chosen]
    return replace(task, values=values)
