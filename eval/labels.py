"""Classes of labelled clips: linear and attentive probes, the learning rate chosen on val and reported on test.

One window of each clip, from its middle. The linear probe is softmax regression on the mean over places and moments; the
attentive one looks at all of them. Beside the model: its architecture untrained, and raw pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.attentive import AttentivePool, MeanPool, sweep
from eval.clips import alike, choose, frames_in, read_clips
from eval.errors import EvalError
from eval.gathering import FILMS_AT_ONCE, MODEL, PIXELS
from eval.measures import accuracy
from eval.readout import as_json
from eval.recordings import record, record_pixels
from worldmodel.manifest import Clip, Manifest
from worldmodel.models.world_model import WorldModel

SPLITS = ("train", "val", "test")
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
STILLS = 4  # pictures of a clip that raw pixels are looked at of: 144 places each make many tokens
HEADS = {"linear": MeanPool, "attentive": AttentivePool}


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
        raise EvalError(f"{path}: no {empty[0]} clip is as long as the {steps * model.frames_per_latent} frames looked at")
    return Labelled(clips, steps, classes)


def classify(nets: Mapping[str, WorldModel], path: str, limit: int | None, device: torch.device) -> dict[str, Any]:
    """{"classes": by probe and source: accuracy on test, the rate chosen and val losses by rate}."""
    model = nets[MODEL]
    data = open_labelled(path, model, limit)
    label, latents = data.label, watch(nets, data, device)
    chosen = {split: data.of(split) for split in SPLITS}
    frequent = np.bincount(label[chosen["train"]]).argmax()
    chance = float((label[chosen["test"]] == frequent).mean())
    found: dict[str, Any] = {}
    for kind, head in HEADS.items():
        for source, features in latents.items():
            probe = sweep(
                head, features, label, np.arange(len(data.classes)), chosen["train"], chosen["val"], device, rates=RATES
            )
            test = np.flatnonzero(chosen["test"])
            score = accuracy(label[test], probe(features[test]), test, chance)
            tried = {f"{rate:g}": loss if np.isfinite(loss) else None for rate, loss in probe.losses.items()}
            found.setdefault(kind, {})[source] = as_json(score) | {"rate": probe.rate, "val_loss": tried}
    return {
        "kind": "labels",
        "data": {
            "manifest": path,
            "clips": {split: int(rows.sum()) for split, rows in chosen.items()},
            "classes": data.classes,
            "window_s": data.steps * model.frames_per_latent / model.fps,
        },
        "classes": found,
        "notes": [],
    }


def watch(nets: Mapping[str, WorldModel], data: Labelled, device: torch.device) -> dict[str, NDArray[np.float32]]:
    """Target latents [F, S, N, D] of one window of each clip, from its middle, by network, and raw pixels."""
    model = nets[MODEL]
    f = model.frames_per_latent
    count = data.steps * f
    stills = np.unique(np.linspace(0, data.steps - 1, STILLS).round().astype(int))
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (*nets, PIXELS)}
    with bar("clips", len(data.clips)) as progress:
        for first in range(0, len(data.clips), FILMS_AT_ONCE):
            some = data.clips[first : first + FILMS_AT_ONCE]
            begin = [(frames_in(clip, model.fps) - count) // 2 for clip in some]
            frames = torch.from_numpy(read_clips(some, model.fps, model.size_px, count, begin)).to(device)
            for name, net in nets.items():
                parts[name].append(record(net, frames, {}).target)
            parts[PIXELS].append(record_pixels(frames, f, []).target[:, stills])
            progress.step(len(some))
    return {name: np.concatenate(some) for name, some in parts.items()}
