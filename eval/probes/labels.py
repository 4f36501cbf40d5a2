"""Classes of labelled clips: linear and attentive probes, learning rate and length chosen on val, reported on test.

One window of each clip, from its middle. The linear probe is softmax regression on the mean over places and moments; the
attentive one looks at all of them. Beside the model: its architecture untrained, and raw pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.progress import bar
from eval.cache.results import Kept
from eval.errors import EvalError
from eval.probes.attentive import AttentivePool, Head, MeanPool, sweep
from eval.probes.clips import alike, choose, frames_in, read_clips
from eval.probes.evaluation import as_json
from eval.probes.gathering import FILMS_AT_ONCE, MODEL, PIXELS
from eval.probes.layers import show, told
from eval.probes.metrics import accuracy
from eval.probes.recordings import record, record_pixels
from worldmodel.manifest import Clip, Manifest
from worldmodel.models.world_model import WorldModel

SPLITS = ("train", "val", "test")
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
STILLS = 4  # pictures of a clip that raw pixels are looked at of: 144 places each make many tokens
HEADS: dict[str, Head] = {"linear": MeanPool, "attentive": AttentivePool}


@dataclass(frozen=True)
class Labelled:
    """Clips of all splits."""

    clips: list[Clip]
    steps: int  # latent steps of each that are looked at
    classes: list[str]

    @property
    def label(self) -> NDArray[np.int64]:
        return np.array([self.classes.index(str(clip.label)) for clip in self.clips])

    def of(self, split: str) -> NDArray[np.bool_]:
        return np.array([clip.split == split for clip in self.clips])


def open_labelled(path: str, model: WorldModel, limit: int | None) -> Labelled:
    """`limit`: clips of each split. Raises EvalError where labels or splits are missing, or nothing can be told apart."""
    manifest = Manifest.open(path)
    chosen = [clip for split in SPLITS for clip in choose(manifest, split, limit)]
    if nameless := [clip for clip in chosen if clip.label is None]:
        raise EvalError(
            f"{path}: {len(nameless)} of {len(chosen)} clips have no label, {nameless[0].path} for one; index a folder a class"
        )
    clips, steps = alike(chosen, model, 1, windows=1)
    named = {split: {str(clip.label) for clip in clips if clip.split == split} for split in SPLITS}
    if len(classes := sorted(named["train"])) < 2:
        raise EvalError(
            f"{path}: its train clips have {len(classes)} label ({', '.join(classes)}); there is nothing to tell apart"
        )
    if unknown := sorted((named["val"] | named["test"]) - named["train"]):
        raise EvalError(
            f"{path}: no train clip has the label {unknown[0]!r}, which val or test clips have; divide it otherwise"
        )
    if empty := [split for split in SPLITS if not named[split]]:
        raise EvalError(f"{path}: no {empty[0]} clip is as long as the {steps * model.tubelet_size} frames looked at")
    return Labelled(clips, steps, classes)


def classify(
    nets: Mapping[str, WorldModel], path: str, limit: int | None, device: torch.device, by_layer: bool, kept: Kept
) -> dict[str, Any]:
    """{"classes": by probe and source: accuracy on test, what was chosen, val losses}; and, by layer, "layers"."""
    model = nets[MODEL]
    data = open_labelled(path, model, limit)
    latents = watch(nets, data, device)
    found: dict[str, Any] = {
        "kind": "labels",
        "data": {
            "manifest": path,
            "clips": {split: int(data.of(split).sum()) for split in SPLITS},
            "classes": data.classes,
            "window_s": data.steps * model.tubelet_size / model.fps,
        },
        "classes": {
            kind: {
                source: kept.get(f"{kind}, {source}", partial(judged, head, features, data, device))
                for source, features in latents.items()
            }
            for kind, head in HEADS.items()
        },
        "notes": [],
    }
    if by_layer:
        layers = watch_layers(nets, data, device)
        scores = {
            layer: {
                name: kept.get(f"{layer}, {name}", partial(judged, MeanPool, features, data, device))
                for name, features in by_net.items()
            }
            for layer, by_net in layers.items()
        }
        scores[PIXELS] = {PIXELS: found["classes"]["linear"][PIXELS]}
        found["layers"], found["notes"] = told({"label": scores}, list(scores))
    return found


def judged(head: Head, features: NDArray[np.float32], data: Labelled, device: torch.device) -> dict[str, Any]:
    """Accuracy on test of a head trained on train, at the learning rate and for as long as did best on val."""
    train, val, test = (data.of(split) for split in SPLITS)
    label, asked = data.label, np.flatnonzero(test)
    chance = float((label[test] == np.bincount(label[train]).argmax()).mean())
    probe = sweep(head, features, label, np.arange(len(data.classes)), train, val, device, rates=RATES)
    score = accuracy(label[asked], probe(features[asked]), asked, chance)
    tried = {f"{rate:g}": loss if np.isfinite(loss) else None for rate, loss in probe.losses.items()}
    return as_json(score) | {"rate": probe.rate, "updates": probe.updates, "val_loss": tried}


def watch(nets: Mapping[str, WorldModel], data: Labelled, device: torch.device) -> dict[str, NDArray[np.float32]]:
    """Target latents [F, S, N, D] of one window of each clip, from its middle, by network, and raw pixels."""
    model = nets[MODEL]
    stills = np.unique(np.linspace(0, data.steps - 1, STILLS).round().astype(int))
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (*nets, PIXELS)}
    for frames in windows_of("clips", data, model, device):
        for name, net in nets.items():
            parts[name].append(record(net, frames, {}).target)
        parts[PIXELS].append(record_pixels(frames, model.tubelet_size, []).target[:, stills])
    return {name: np.concatenate(some) for name, some in parts.items()}


@torch.no_grad()
def watch_layers(
    nets: Mapping[str, WorldModel], data: Labelled, device: torch.device
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """The same by layer, then network."""
    parts: dict[str, dict[str, list[NDArray[np.float32]]]] = {}
    for frames in windows_of("layers", data, nets[MODEL], device):
        for name, net in nets.items():
            for layer, latents in show(net, frames).items():
                parts.setdefault(layer, {}).setdefault(name, []).append(latents)
    return {layer: {name: np.concatenate(some) for name, some in by_net.items()} for layer, by_net in parts.items()}


def windows_of(what: str, data: Labelled, model: WorldModel, device: torch.device) -> Iterator[Tensor]:
    """The middle of each clip, some at a time: uint8 [B, T, H, W, 3]."""
    count = data.steps * model.tubelet_size
    with bar(what, len(data.clips)) as progress:
        for first in range(0, len(data.clips), FILMS_AT_ONCE):
            some = data.clips[first : first + FILMS_AT_ONCE]
            begin = [(frames_in(clip, model.fps) - count) // 2 for clip in some]
            yield torch.from_numpy(read_clips(some, model.fps, model.size_px, count, begin)).to(device)
            progress.step(len(some))
