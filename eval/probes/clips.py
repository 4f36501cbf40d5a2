"""Selection of the clips that are probed, and their frames as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError
from worldmodel.manifest import SPLITS, Clip, Manifest
from worldmodel.models.world_model import WorldModel, window_frames
from worldmodel.video.geometry import read_square_frames

ROUNDING_FRAMES = 1e-6
READER_THREADS = 2
MAX_WINDOWS = 2  # of the model; the rest of a longer clip is not read


def open_possible(path: str) -> Manifest:
    """Open a manifest of possible videos.

    Raises EvalError for the manifest of a benchmark, which has impossible ones.
    """
    manifest = Manifest.open(path)
    if manifest.metadata.get("config", {}).get("kind") == "suite":
        raise EvalError(
            f"{path}: half of these videos are impossible; give possible ones, such as calibration.parquet in the same folder"
        )
    return manifest


def choose_clips(manifest: Manifest, split: str, limit: int | None = None) -> list[Clip]:
    """Clips of a split in the order of their ids.

    An id is a hash of the content, so the first `limit` clips are a random sample that never changes.

    Raises EvalError where the split has none.
    """
    rows = manifest.rows(split)
    if not len(rows):
        counts = {name: len(manifest.rows(name)) for name in SPLITS}
        found = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no clips at all"
        raise EvalError(f"{manifest.path}: no clip has split {split!r}; it has {found}")
    names = manifest.column("clip_id")[rows]
    return [manifest.clip(int(row)) for row in rows[np.argsort(names, kind="stable")][:limit]]


def equally_long(
    clips: Sequence[Clip], model: WorldModel, min_steps: int, max_windows: int = MAX_WINDOWS
) -> tuple[list[Clip], int]:
    """Select the clips that are at least as long as the longest, or as `max_windows` windows of the
    model.

    Returns them and the number of latent steps. Raises EvalError where even the longest has fewer
    than `min_steps`.
    """
    f = model.tubelet_size
    steps = [clip.frames_at(model.fps) // f for clip in clips]
    longest = int(np.argmax(steps))
    wanted = min(steps[longest], max(max_windows * window_frames(model) // f, min_steps))
    if wanted < min_steps:
        clip = clips[longest]
        raise EvalError(
            f"{clip.path}, the longest, lasts {clip.stop_s - clip.start_s:.2f} s: {wanted} latent "
            f"steps at {model.fps:g} fps; at least {min_steps} are needed for a context and one forecast step"
        )
    return [clip for clip, own in zip(clips, steps, strict=True) if own >= wanted], wanted


def read_clip(clip: Clip, fps: float, size_px: int, count: int, first: int = 0) -> NDArray[np.uint8]:
    """Read `count` frames at `fps` from frame `first` on, cropped to the centre square: uint8
    [count, size_px, size_px, 3].

    Raises VideoError.
    """
    times = clip.start_s + (first + np.arange(count)) / fps
    return read_square_frames(
        clip.path,
        size_px,
        "center_crop",
        times_s=times,
        member=clip.member,
        folder_fps=clip.fps,
        timing=clip.timing,
        rectangle=clip.rectangle,
    )


def read_clips(clips: Sequence[Clip], fps: float, size_px: int, count: int, first: Sequence[int]) -> NDArray[np.uint8]:
    """Read several clips, each from its own `first` frame on: uint8
    [B, count, size_px, size_px, 3]."""
    with ThreadPoolExecutor(READER_THREADS) as pool:
        work = [pool.submit(read_clip, clip, fps, size_px, count, start) for clip, start in zip(clips, first, strict=True)]
        return np.stack([done.result() for done in work])


def source_frames(count: int, fps: float, clip: Clip) -> NDArray[np.int64]:
    """Index in the file of the frame that is shown at each of the clip's first `count` frames at
    `fps`."""
    return ((clip.start_s + np.arange(count) / fps) * clip.fps + ROUNDING_FRAMES).astype(np.int64)
