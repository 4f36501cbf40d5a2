"""Parquet: manifests and traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from eval.errors import EvalError
from eval.voe.scorers import ScorerId
from eval.voe.surprise.traces import TraceBlock, Traces, write_traces
from worldmodel.data.window_config import WindowConfig
from worldmodel.data.windows import WindowSource
from worldmodel.manifest import Clip, Manifest, ManifestError, write_manifest

ERRORS = (ManifestError, EvalError)


def seeds(folder: Path) -> Mapping[str, Path]:
    row = (0.0, 2.0, 10.0, 20, 32, 32, 0, "h264", "train", "label", None, "folder")
    clips = [Clip(f"{n:016x}", f"{n}.mp4", None, *row, f"{n:064x}") for n in range(20)]
    write_manifest(folder / "manifest.parquet", clips, command="fuzz", config={})
    scorer = ScorerId(distance="whitened")
    blocks = [TraceBlock([f"video {n}"], scorer, "sliding", 0.0, 0.5, np.arange(5.0), np.ones((1, 5))) for n in range(5)]
    write_traces(folder / "traces.parquet", blocks)
    return {"manifest": folder / "manifest.parquet", "traces": folder / "traces.parquet"}


def reader(name: str, path: Path) -> Callable[[int], None]:
    def read_manifest(turn: int) -> None:
        manifest = Manifest.open(path)
        if turn % 2:
            source = WindowSource(manifest, "train", WindowConfig(frames=4, fps=10, size_px=16))
            source.window_at(len(source) - 1, 0.5)
        elif len(manifest):
            manifest.clip(len(manifest) - 1)
            manifest.column("clip_id")
        manifest.digest()

    def read_traces(turn: int) -> None:
        traces = Traces.open(path)
        traces.categories("video_id")
        traces.codes("scorer")
        traces.column("surprise")

    return read_manifest if name == "manifest" else read_traces
