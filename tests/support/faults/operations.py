"""Operations for trials on a failing file system. Each is a function of a folder that returns an exit code.

`prepare_NAME(folder)` creates the initial state and `NAME(folder)` runs the operation. All files are
below the folder.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep import pool
from data_prep.__main__ import main as data_prep
from eval.__main__ import main as evaluate
from worldmodel import checkpoint as checkpoints
from worldmodel import train as training
from worldmodel.checkpoint import CheckpointError
from worldmodel.files.folder_lock import FolderLockError, lock_folder
from worldmodel.manifest import Clip, write_manifest
from worldmodel.ranks.launch import report_error
from worldmodel.video import inspect_video, write_video

FPS, FRAMES, SIZE_PX = 12, 14, 16
RECIPE = {
    "data": {"batch_size": 4, "workers": 0},
    "window": {"frames": 8, "fps": FPS, "size_px": SIZE_PX},
    "model": {
        "kind": "causal",
        "encoder": {"patch_px": 8, "width": 8, "depth": 1, "heads": 2, "latent_dim": 4, "head_width": 8},
        "predictor": {"width": 8, "depth": 1, "heads": 2, "horizons": 4},
        "rollout_steps": 1,
        "rollout_context": 2,
    },
    "optim": {"warmup_steps": 1},
    "train": {"max_steps": 3, "log_every": 1, "precision": "fp32"},
    "health": {"every": 1, "windows": 4},
    "checkpoint": {"every": 1, "keep": 1},
    "decoder": {"max_steps": 2, "windows": 4, "batch_size": 4, "net": {"size_px": 16, "width": 4}},
}


def ball(seed: int, frames: int = FRAMES) -> np.ndarray:
    """Video of a disc that moves in a straight line: uint8 [frames, 16, 16, 3]."""
    rng = np.random.default_rng(seed)
    start, speed, colour = rng.uniform(0, SIZE_PX, 2), rng.uniform(-2, 2, 2), rng.integers(90, 256, 3)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    video = np.full((frames, SIZE_PX, SIZE_PX, 3), 40, np.uint8)
    for t, frame in enumerate(video):
        cy, cx = (start + t * speed) % SIZE_PX
        frame[(y - cy) ** 2 + (x - cx) ** 2 < 16] = colour
    return video


def write_videos(folder: Path, count: int) -> Path:
    """Write `count` videos, a third of them held out, and their manifest."""
    folder.mkdir(parents=True)
    clips = []
    for number in range(count):
        path = folder / f"{number:03d}.mp4"
        write_video(path, ball(number), FPS)
        info = inspect_video(path)
        split = "val" if number % 3 == 2 else "train"
        size, name = (info.width, info.height, info.rotation, info.codec), f"{number:016d}"
        span = (0.0, info.duration_s)
        clips.append(Clip(name, str(path), None, *span, info.fps, info.frames, *size, split, None, None, "balls", name))
    write_manifest(folder / "videos.parquet", clips, command="test", config={})
    return folder / "videos.parquet"


# --- checkpoints -----------------------------------------------------------------------------------------------------
def _tensors(step: int) -> Mapping[str, Mapping[str, torch.Tensor]]:
    source = torch.Generator().manual_seed(step)
    names = ("model", "objectives", "optimizer")
    return {name: {"a": torch.randn(50, 40, generator=source), "b": torch.randn(3, generator=source)} for name in names}


def _save_checkpoint(run: Path, step: int) -> None:
    """Save a checkpoint as training does."""
    state = {"step": step, "samples": step, "seconds": float(step), "skill": 0.1 * step, "recipe": {}}
    checkpoints.save_checkpoint(run, _tensors(step), state)
    try:
        checkpoints.write_best(run)
    except OSError as error:
        raise CheckpointError(checkpoints.write_failure_message(run / "best.json", error, run)) from error
    checkpoints.prune(run, 2, step)


def prepare_save(folder: Path) -> None:
    for step in (1, 2):
        _save_checkpoint(folder / "run", step)


def save(folder: Path) -> int:
    """Save the third checkpoint and remove the first."""
    try:
        with lock_folder(folder / "run", "wait"):
            _save_checkpoint(folder / "run", 3)
    except (CheckpointError, FolderLockError, OSError) as error:
        return report_error(error)
    return 0


prepare_decoder = prepare_save


def decoder(folder: Path) -> int:
    """Add a decoder to the last checkpoint."""
    try:
        last = checkpoints.latest_checkpoint(folder / "run")
        assert last is not None
        checkpoints.add_file(last, "decoder", _tensors(7)["model"])
    except (CheckpointError, FolderLockError, OSError) as error:
        return report_error(error)
    return 0


def prepare_decoder_again(folder: Path) -> None:
    prepare_save(folder)
    last = checkpoints.latest_checkpoint(folder / "run")
    assert last is not None
    checkpoints.add_file(last, "decoder", _tensors(6)["model"])


decoder_again = decoder


# --- training --------------------------------------------------------------------------------------------------------
def _recipe(folder: Path) -> Path:
    path = folder / "small.yaml"
    data = {**RECIPE["data"], "manifest": str(folder / "videos" / "videos.parquet")}
    path.write_text(json.dumps({**RECIPE, "data": data}), encoding="utf-8")  # JSON is YAML
    return path


def prepare_train(folder: Path) -> None:
    write_videos(folder / "videos", 9)
    _recipe(folder)


def train(folder: Path) -> int:
    """Train for three steps, with a checkpoint after each, and train the decoder."""
    return training.main([str(folder / "small.yaml"), f"run={folder / 'run'}"])


def prepare_resume(folder: Path) -> None:
    """A run that ended in its third save. Its logs continue after the last checkpoint; the last line is incomplete."""
    prepare_train(folder)
    save = checkpoints.save_checkpoint

    def interrupted(run: Path, tensors: Any, state: Any, *rest: Any, **more: Any) -> Path:
        if state["step"] == 3:
            raise KeyboardInterrupt
        return save(run, tensors, state, *rest, **more)

    checkpoints.save_checkpoint = interrupted
    assert train(folder) == 130
    with (folder / "run" / "metrics.jsonl").open("a", encoding="utf-8") as rows:
        rows.write('{"step": 4, "samples": 16, "loss": 1.0}\n{"step": 5, "sam')


resume = train


# --- data and evaluation ---------------------------------------------------------------------------------------------
def prepare_index(folder: Path) -> None:
    for number in range(3):
        (folder / "videos").mkdir(parents=True, exist_ok=True)
        write_video(folder / "videos" / f"{number}.mp4", ball(number), FPS)


def index(folder: Path) -> int:
    _forked_workers()
    return data_prep(["index", str(folder / "videos"), "--out", str(folder / "out" / "m.parquet"), "--workers", "1"])


def prepare_index_again(folder: Path) -> None:
    """A manifest of two videos; a third was added, and one can no longer be read."""
    prepare_index(folder)
    (folder / "videos" / "2.mp4").rename(folder / "2.mp4")
    assert index(folder) == 0
    (folder / "2.mp4").rename(folder / "videos" / "2.mp4")
    (folder / "videos" / "0.mp4").write_bytes(b"no video at all")


index_again = index


def prepare_transcode(folder: Path) -> None:
    prepare_index(folder)
    assert index(folder) == 0


def transcode(folder: Path) -> int:
    _forked_workers()
    arguments = ["transcode", str(folder / "out" / "m.parquet"), "--out", str(folder / "copies")]
    return data_prep([*arguments, "--workers", "1", "--short-side-px", "8"])


def _forked_workers() -> None:
    """Use forked workers, which need no imports and continue to count the calls."""
    pool.multiprocessing.get_context = lambda _: _Forking()  # type: ignore[attr-defined]


class _Forking:
    Pipe = staticmethod(multiprocessing.Pipe)
    Process = staticmethod(multiprocessing.get_context("fork").Process)


def prepare_score(folder: Path) -> None:
    prepare_train(folder)
    assert train(folder) == 0


def score(folder: Path) -> int:
    """Score two videos. Results on reference videos are stored in the run and in the cache."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    videos = [str(folder / "videos" / f"{number:03d}.mp4") for number in (0, 2)]
    out = ["--out", str(folder / "scores.jsonl"), "--html", str(folder / "scores.html")]
    return evaluate(["plausibility", "--model", str(folder / "run"), *videos, *out, "--device", "cpu"])


def check_checkpoints(folder: Path) -> int:
    """Fail unless every checkpoint of a run is intact and best.json names one of them."""
    run = folder / "run"
    for checkpoint in sorted((run / "checkpoints").glob("[0-9]*")):
        if (checkpoint / "state.json").exists():  # otherwise it is being removed
            checkpoints.open_checkpoint(checkpoint)
    best = checkpoints.best_checkpoint_name(run)
    assert best is None or (run / "checkpoints" / best / "state.json").is_file(), f"best.json names {best}, which is missing"
    return 0
