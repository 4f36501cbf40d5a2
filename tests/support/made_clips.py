"""Small videos of noise with their manifest, and windows of them."""

from pathlib import Path

import numpy as np

from worldmodel.data.loader import DataConfig, WindowDataset
from worldmodel.data.window_config import WindowConfig
from worldmodel.manifest import Clip, write_manifest
from worldmodel.video import write_video

FPS, FRAMES, SIZE_PX = 10, 12, 32


def write_clips(folder: Path, count: int) -> Path:
    """`count` videos of noise below `folder`/clips, and `folder`/m.parquet, which names them."""
    clips = []
    (folder / "clips").mkdir(parents=True)
    for number in range(count):
        name = f"clips/{number:03d}.mp4"
        frames = np.random.default_rng(number).integers(0, 256, (FRAMES, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
        write_video(folder / name, frames, FPS, lossless=True)
        size = (FPS, FRAMES, SIZE_PX, SIZE_PX, 0, "h264")
        clips.append(Clip(str(number), name, None, 0.0, FRAMES / FPS, *size, "train", None, None, "test", str(number)))
    write_manifest(folder / "m.parquet", clips, command="test", config={})
    return folder / "m.parquet"


def windows_of(manifest: Path, **config: object) -> WindowDataset:
    settings = {"manifest": str(manifest), "batch_size": 4, "workers": 0, **config}
    return WindowDataset(DataConfig(**settings), WindowConfig(frames=8, fps=FPS, size_px=SIZE_PX), "train", 0, SIZE_PX)
