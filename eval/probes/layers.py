"""What is encoded where: the linear probes of `eval probe`, asked of each layer that a model shows (Layered).

Layers are wide, and moments of one film alike: places are averaged to at most PLACES x PLACES, features beyond 256 looked at
along as many fixed random directions, and a probe is fitted on, and judged by, at most MOMENTS_A_FILM moments of a film.
So scores compare with one another, not with those of `encoded`; the output and raw pixels stand among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from data_prep.progress import bar
from eval.errors import EvalError
from eval.probes.clips import read_clips
from eval.probes.evaluation import Question, as_json, encoded
from eval.probes.gathering import FILMS_AT_ONCE, PIXELS, Films
from eval.probes.recordings import Recording, join, numpy
from eval.probes.targets import PROPERTIES
from eval.voe.surprise.whitening import MOST_FEATURES, narrowed
from worldmodel.models.world_model import Layered, WorldModel, window_frames

PLACES = 8  # a side
MOMENTS_A_FILM = 4
Values = NDArray[np.floating]
Latents = NDArray[np.float32]
NARROWED = (
    f"places averaged to at most {PLACES} x {PLACES}, features beyond {MOST_FEATURES} along random directions, at most "
    f"{MOMENTS_A_FILM} moments a film"
)


def check_layered(nets: Mapping[str, WorldModel], spec: str) -> None:
    """Raises EvalError for a model that does not show its layers."""
    if not all(isinstance(net, Layered) for net in nets.values()):
        raise EvalError(
            f"--layers: {spec} does not show what its layers hold; a model does by `layers` (worldmodel.models.world_model)"
        )


def show(net: WorldModel, frames: Tensor) -> dict[str, Latents]:
    """By layer: latents [F, S, N', D'] of films uint8 [F, T, H, W, 3], narrowed."""
    assert isinstance(net, Layered)
    parts = [net.layers(part) for part in net.normalise(frames).split(window_frames(net), 1)]
    return {name: numpy(narrowed(coarse(torch.cat([part[name] for part in parts], 1)))) for name in parts[0]}


def coarse(latents: Tensor) -> Tensor:
    """Places of a square grid averaged to at most PLACES x PLACES: [F, S, N, D] -> [F, S, N', D]."""
    side = isqrt(latents.shape[2])
    if side * side != latents.shape[2] or side <= PLACES:
        return latents
    films = latents.shape[0]
    picture = rearrange(latents, "f s (h w) d -> (f s) d h w", h=side)
    return rearrange(F.adaptive_avg_pool2d(picture, PLACES), "(f s) d h w -> f s (h w) d", f=films)


@torch.no_grad()
def gather_layers(nets: Mapping[str, WorldModel], films: Films, device: torch.device) -> dict[str, dict[str, Recording]]:
    """By layer, then network."""
    model = next(iter(nets.values()))
    parts: dict[str, dict[str, list[Recording]]] = {}
    with bar("layers", len(films.clips)) as progress:
        for first in range(0, len(films.clips), FILMS_AT_ONCE):
            some = films.clips[first : first + FILMS_AT_ONCE]
            frames = read_clips(some, model.fps, model.size_px, films.frames, [0] * len(some))
            for name, net in nets.items():
                for layer, latents in show(net, torch.from_numpy(frames).to(device)).items():
                    parts.setdefault(layer, {}).setdefault(name, []).append(Recording(latents, {}, {}))
            progress.step(len(some))
    return {layer: {name: join(some) for name, some in by_net.items()} for layer, by_net in parts.items()}


def layers_of_physics(
    nets: Mapping[str, WorldModel], films: Films, pixels: Recording, device: torch.device
) -> tuple[dict[str, Any], list[str]]:
    """{"names": layers in order, "scores": by property, layer and network; raw pixels are a layer of their own}, and notes."""
    recordings = {**gather_layers(nets, films, device), PIXELS: {PIXELS: pixels}}
    questions = [sparse(Question.of(films.cohort, prop, "linear", device)) for prop in PROPERTIES.values()]
    scores: dict[str, Any] = {}
    notes: list[str] = []
    with bar("probes of layers", len(questions) * len(recordings)) as progress:
        for question in questions:
            name = question.prop.name
            try:
                for layer, by_net in recordings.items():
                    found = encoded(question, by_net)[0]
                    scores.setdefault(name, {})[layer] = {net: as_json(score) for net, score in found.items()}
                    progress.step()
            except EvalError as error:
                scores.pop(name, None)
                notes.append(f"{name}, by layer: left out, {error}.")
                progress.step(len(recordings))
    layers, more = told(scores, list(recordings))
    return layers, notes + more


def told(scores: Mapping[str, Any], layers: list[str]) -> tuple[dict[str, Any], list[str]]:
    """For probe.json, and a line where there is little to see."""
    names = [layer for layer in layers if layer != PIXELS]
    bare = not any(name.startswith("block ") for name in names)
    notes = ["By layer: this encoder has no blocks; its layers are the embedding of patches and the output."] if bare else []
    return {"names": names, "scores": scores}, notes


def sparse(question: Question) -> Question:
    """The same of at most MOMENTS_A_FILM moments of each film, evenly spread over those at which it can be asked."""
    film, step = question.encoded_rows()
    values = np.full_like(question.values, np.nan)
    for number in np.unique(film):
        steps = step[film == number]
        chosen = steps[np.unique(np.linspace(0, len(steps) - 1, MOMENTS_A_FILM).round().astype(int))]
        values[number, chosen] = question.values[number, chosen]
    return replace(question, values=values)
