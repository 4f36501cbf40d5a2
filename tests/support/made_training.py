"""A training of a few steps in this process: of small clips with actions, by a model that takes them."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from made_clips import FPS, FRAMES, SIZE_PX, write_clips

from worldmodel import train
from worldmodel.manifest import Manifest, write_manifest
from worldmodel.signals import Channel, Signals, write_signals

RECIPE = {
    "data": {"batch_size": 4, "workers": 0},
    "window": {"frames": 6, "fps": FPS, "size_px": SIZE_PX},
    "augment": {"hflip_prob": 0},
    "model": {
        "kind": "causal",
        "condition": {"kind": "added"},
        "encoder": {"patch_px": 16, "tubelet_size": 1, "width": 8, "depth": 1, "heads": 2, "latent_dim": 4, "head_width": 8},
        "predictor": {"width": 8, "depth": 1, "heads": 2, "horizons": 1},
        "rollout_steps": 2,
        "rollout_context": 1,
    },
    "optim": {"warmup_steps": 1},
    "train": {"max_steps": 4, "log_every": 1},
    "health": {"every": 2, "windows": 2},
    "checkpoint": {"every": 2, "keep": 2},
    "decoder": {"max_steps": 0},
}


def write_clips_with_actions(folder: Path, count: int) -> Path:
    """Clips of noise, the last two held out, each with a table of actions and states. Returns their manifest."""
    manifest = Manifest.open(write_clips(folder, count))
    clips = []
    for number in range(count):
        table, rng = folder / "signals" / f"{number}.parquet", np.random.default_rng(number)
        table.parent.mkdir(exist_ok=True)
        time_s, actions, states = np.arange(FRAMES) / FPS, rng.normal(size=(FRAMES, 2)), rng.normal(size=(FRAMES, 1))
        channels = Channel(("x", "y"), ("", "")), Channel(("z",), ("",))
        write_signals(table, Signals(str(table), time_s, actions, states, *channels))
        split = "val" if number >= count - 2 else "train"
        clips.append(replace(manifest.clip(number), signals=str(table), split=split))
    write_manifest(folder / "acting.parquet", clips, command="test", config={})
    return folder / "acting.parquet"


def write_recipe(folder: Path, manifest: Path | str) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "data": {**RECIPE["data"], "manifest": str(manifest)}}))
    return path


def run_training(recipe: Path, *arguments: str) -> int:
    """The exit code of training in this process, which keeps its handlers of signals."""
    with _signals_restored(), torch.random.fork_rng(devices=[]):
        return train.main([str(recipe), *arguments])


@contextlib.contextmanager
def _signals_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def losses(run: Path) -> list[tuple[int, float, float]]:
    """Step, loss and norm of the gradient of every logged step, exactly as they were written."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in rows]
