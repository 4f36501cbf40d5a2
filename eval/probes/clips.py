"""Which films are probed, in an order that says nothing about them, and their frames as a model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from eval.errors import EvalError
from worldmodel.manifest import SPLITS, Clip, Manifest
from worldmodel.models.world_model import WorldModel, window_frames
from worldmodel.video.square import read_square

ROUNDING_S = 1e-6
READERS = 2  # threads
WINDOWS = 2  # of the model: as much of a long clip as is looked at


def open_lawful(path: str) -> Manifest:
    """A manifest of films in which nothing impossible happens. Raises EvalError for those of a benchmark."""
    manifest = Manifest.open(path)
    if manifest.metadata.get("config", {}).get("kind") == "suite":
        raise EvalError(f"{path}: half of these films are impossible; give lawful ones, such as the lawful.parquet beside them")
    return manifest


def choose(manifest: Manifest, split: str, limit: int | None = None) -> list[Clip]:
    """Clips of a split by their id, a hash of their content: the first few are drawn at random, the same every time.

    Raises EvalError where the split has none.
    """
    rows = manifest.rows(split)
    if not len(rows):
        there = {name: len(manifest.rows(name)) for name in SPLITS}
        found = ", ".join(f"{count} {name}" for name, count in there.items() if count) or "no clips at all"
        raise EvalError(f"{manifest.path}: no clip has split {split!r}; it has {found}")
    names = manifest.column("clip_id")[rows]
    return [manifest.clip(int(row)) for row in rows[np.argsort(names, kind="stable")][:limit]]


def frames_in(clip: Clip, fps: float) -> int:
    """Frames of a clip at a rate: as many as begin before its last one does."""
    return int((clip.frames - 1) / clip.fps * fps + ROUNDING_S) + 1


def alike(clips: Sequence[Clip], model: WorldModel, least_steps: int, windows: int = WINDOWS) -> tuple[list[Clip], int]:
    """Clips that last as long as the longest, or as so many of the model's windows, and their latent steps.

    Raises EvalError where even the longest has fewer than `least_steps`.
    """
    f = model.tubelet_size
    steps = [frames_in(clip, model.fps) // f for clip in clips]
    longest = int(np.argmax(steps))
    wanted = min(steps[longest], max(windows * window_frames(model) // f, least_steps))
    if wanted < least_steps:
        raise EvalError(
            f"{clips[longest].path}, the longest, lasts {clips[longest].frames / clips[longest].fps:.2f} s: {wanted} latent "
            f"steps at {model.fps:g} fps; a context and one step after it are {least_steps}"
        )
    return [clip for clip, there in zip(clips, steps, strict=True) if there >= wanted], wanted


def read_clip(clip: Clip, fps: float, size_px: int, count: int, first: int = 0) -> NDArray[np.uint8]:
    """`count` frames at `fps` from the `first` on, the centre square: uint8 [count, size_px, size_px, 3]. Raises VideoError."""
    times = clip.start_s + (first + np.arange(count)) / fps
    return read_square(clip.path, size_px, "crop", times_s=times, member=clip.member, folder_fps=clip.fps, timing=clip.timing)


def read_clips(clips: Sequence[Clip], fps: float, size_px: int, count: int, first: Sequence[int]) -> NDArray[np.uint8]:
    """[B, count, size_px, size_px, 3]; each clip from a frame of its own on."""
    with ThreadPoolExecutor(READERS) as pool:
        work = [pool.submit(read_clip, clip, fps, size_px, count, start) for clip, start in zip(clips, first, strict=True)]
        return np.stack([done.result() for done in work])


def shown_frames(count: int, fps: float, clip: Clip) -> NDArray[np.int64]:
    """Which frame of the file is shown at each of the clip's first `count` frames at `fps`."""
    return ((clip.start_s + np.arange(count) / fps) * clip.fps + ROUNDING_S).astype(np.int64)
