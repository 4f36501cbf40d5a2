"""Probes of labelled clips: linear and attentive, learning rate and number of steps chosen on val,
accuracy on test.

One window from the middle of each clip is used. The linear probe is softmax regression on the mean
over tokens and steps; the attentive probe sees all tokens. Baselines: the same architecture
untrained, and raw pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.progress import bar
from eval.cache.results import ResultCache
from eval.errors import EvalError
from eval.probes.clips import choose_clips, equally_long, read_clips
from eval.probes.dataset import BATCH_CLIPS, MODEL, PIXELS
from eval.probes.fitting.attentive import AttentivePool, Head, MeanPool, train_probe
from eval.probes.latents import encode_clips, pixel_latents
from eval.probes.layers import layer_latents, layer_notes, layer_results
from eval.probes.metrics import accuracy
from eval.probes.results import LabelScore, ProbeResults, score_json
from worldmodel.manifest import Clip, Manifest
from worldmodel.models.world_model import WorldModel

SPLITS = ("train", "val", "test")
LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
PIXEL_STEPS = 4  # pictures per clip for the raw-pixel baseline: each has 144 tokens
HEADS: dict[str, Head] = {"linear": MeanPool, "attentive": AttentivePool}


@dataclass(frozen=True)
class LabelledClips:
    """Clips of all splits."""

    clips: list[Clip]
    steps: int  # latent steps of each that are used
    classes: list[str]

    @property
    def label(self) -> NDArray[np.int64]:
        """Index of the class of each clip."""
        return np.array([self.classes.index(str(clip.label)) for clip in self.clips])

    def in_split(self, split: str) -> NDArray[np.bool_]:
        return np.array([clip.split == split for clip in self.clips])


def open_labelled(path: str, model: WorldModel, limit: int | None) -> LabelledClips:
    """Open a manifest of labelled clips. limit: clips of each split at most.

    Raises EvalError where labels or splits are missing, or all clips have one class.
    """
    manifest = Manifest.open(path)
    chosen = [clip for split in SPLITS for clip in choose_clips(manifest, split, limit)]
    if unlabelled := [clip for clip in chosen if clip.label is None]:
        raise EvalError(
            f"{path}: {len(unlabelled)} of {len(chosen)} clips have no label, for example {unlabelled[0].path}; index a "
            "folder per class"
        )
    clips, steps = equally_long(chosen, model, 1, max_windows=1)
    labels = {split: {str(clip.label) for clip in clips if clip.split == split} for split in SPLITS}
    if len(classes := sorted(labels["train"])) < 2:
        raise EvalError(f"{path}: its train clips have {len(classes)} label ({', '.join(classes)}); at least 2 are needed")
    if unknown := sorted((labels["val"] | labels["test"]) - labels["train"]):
        raise EvalError(
            f"{path}: val or test clips have the label {unknown[0]!r}, which no train clip has; split the data again"
        )
    if empty := [split for split in SPLITS if not labels[split]]:
        raise EvalError(f"{path}: no {empty[0]} clip is as long as the {steps * model.tubelet_size} frames that are used")
    return LabelledClips(clips, steps, classes)


def probe_labels(
    nets: Mapping[str, WorldModel], path: str, limit: int | None, device: torch.device, by_layer: bool, cache: ResultCache
) -> ProbeResults:
    """Accuracy on test of both kinds of probe and, if `by_layer`, of a linear probe of each
    layer."""
    model = nets[MODEL]
    data = open_labelled(path, model, limit)
    latents = encode_labelled(nets, data, device)
    found: ProbeResults = {
        "kind": "labels",
        "data": {
            "manifest": path,
            "clips": {split: int(data.in_split(split).sum()) for split in SPLITS},
            "classes": data.classes,
            "window_s": data.steps * model.tubelet_size / model.fps,
        },
        "classes": {
            kind: {
                source: cache.get_or_compute(f"{kind}, {source}", partial(fit_and_score, head, features, data, device))
                for source, features in latents.items()
            }
            for kind, head in HEADS.items()
        },
        "notes": [],
    }
    if by_layer:
        layers = encode_layers(nets, data, device)
        scores = {
            layer: {
                name: cache.get_or_compute(f"{layer}, {name}", partial(fit_and_score, MeanPool, features, data, device))
                for name, features in by_net.items()
            }
            for layer, by_net in layers.items()
        }
        scores[PIXELS] = {PIXELS: found["classes"]["linear"][PIXELS]}
        found["layers"], found["notes"] = layer_results({"label": scores}, list(scores)), layer_notes(list(scores))
    return found


def fit_and_score(head: Head, features: NDArray[np.float32], data: LabelledClips, device: torch.device) -> LabelScore:
    """Train a head on train, choose learning rate and number of steps on val, and return the
    accuracy on test."""
    train, val, test = (data.in_split(split) for split in SPLITS)
    label, rows = data.label, np.flatnonzero(test)
    chance = float((label[test] == np.bincount(label[train]).argmax()).mean())
    classes = np.arange(len(data.classes))
    probe = train_probe(head, features, label, classes, train, val, device, learning_rates=LEARNING_RATES)
    score = accuracy(label[rows], probe(features[rows]), rows, chance)
    losses = {f"{rate:g}": loss if np.isfinite(loss) else None for rate, loss in probe.losses.items()}
    chosen: LabelScore = {"learning_rate": probe.learning_rate, "steps": probe.steps, "val_loss": losses}
    return {**score_json(score), **chosen}


def encode_labelled(
    nets: Mapping[str, WorldModel], data: LabelledClips, device: torch.device
) -> dict[str, NDArray[np.float32]]:
    """Target latents [F, S, N, D] of the middle window of each clip, by network, with raw pixels as
    one more network."""
    model = nets[MODEL]
    pixel_steps = np.unique(np.linspace(0, data.steps - 1, PIXEL_STEPS).round().astype(int))
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (*nets, PIXELS)}
    for frames in middle_windows("clips", data, model, device):
        for name, net in nets.items():
            parts[name].append(encode_clips(net, frames, {}).target)
        parts[PIXELS].append(pixel_latents(frames, model.tubelet_size, []).target[:, pixel_steps])
    return {name: np.concatenate(some) for name, some in parts.items()}


@torch.no_grad()
def encode_layers(
    nets: Mapping[str, WorldModel], data: LabelledClips, device: torch.device
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Latents of the middle window of each clip, by layer, then network."""
    parts: dict[str, dict[str, list[NDArray[np.float32]]]] = {}
    for frames in middle_windows("layers", data, nets[MODEL], device):
        for name, net in nets.items():
            for layer, latents in layer_latents(net, frames).items():
                parts.setdefault(layer, {}).setdefault(name, []).append(latents)
    return {layer: {name: np.concatenate(some) for name, some in by_net.items()} for layer, by_net in parts.items()}


def middle_windows(title: str, data: LabelledClips, model: WorldModel, device: torch.device) -> Iterator[Tensor]:
    """Batches of the middle window of each clip: uint8 [B, T, H, W, 3]. title: of the progress
    bar."""
    count = data.steps * model.tubelet_size
    with bar(title, len(data.clips)) as progress:
        for first in range(0, len(data.clips), BATCH_CLIPS):
            batch = data.clips[first : first + BATCH_CLIPS]
            begin = [(clip.frames_at(model.fps) - count) // 2 for clip in batch]
            yield torch.from_numpy(read_clips(batch, model.fps, model.size_px, count, begin)).to(device)
            progress.step(len(batch))
