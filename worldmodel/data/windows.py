"""Manifest rows -> windows: how many fit into a clip, and which frames one of them holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldmodel.manifest import Manifest, ManifestError
from worldmodel.video.timing import Timing
from worldmodel.window import WindowConfig


@dataclass(frozen=True)
class Window:
    """Frames of one file, by time or by number; exactly one of the two is given."""

    path: str
    member: str | None
    times_s: tuple[float, ...] | None
    indices: tuple[int, ...] | None
    timing: Timing | None  # how frames of the file are found; None = to be examined
    file_fps: float  # what a folder of frames, which has no clock, is played at


class WindowSource:
    """Windows of one split of one manifest. A clip counts as often as whole windows fit into it, at least once.

    Lives in the main process; workers are sent single windows and never hold the table, so that their memory is flat.
    """

    def __init__(self, manifest: Manifest, split: str, window: WindowConfig) -> None:
        self.manifest, self.split, self.window = manifest, split, window
        if manifest.metadata.get("config", {}).get("kind") == "suite":
            raise ManifestError(
                f"{manifest.path}: these films are a benchmark, some of them impossible; a model that has seen them cannot be "
                "measured on them. Train on the train.parquet made beside it"
            )
        rows = manifest.rows(split)
        if not len(rows):
            raise ManifestError(
                f"{manifest.path}: no clip has split {split!r}; {_splits(manifest)}. Training needs train and val: make it "
                "again with another `--val` of `python -m data_prep index`, or name another one in data.manifest"
            )
        fps = manifest.column("fps")[rows].astype(np.float64)
        step_s = np.full(len(rows), 1 / window.fps) if window.stride_frames is None else window.stride_frames / fps
        start = manifest.column("start_s")[rows].astype(np.float64)
        stop = manifest.column("stop_s")[rows].astype(np.float64)
        # the last frame of a window must be shown within the clip; half a frame of the file absorbs rounding of its times
        latest = stop - (window.frames - 1) * step_s - 0.5 / fps
        fits = latest >= start
        self.too_short = int((~fits).sum())
        if not fits.any():
            raise ManifestError(
                f"{manifest.path}: none of its {len(rows)} {split} clips holds one window of {window.frames} frames at "
                f"{window.fps:g} fps (the longest lasts {float((stop - start).max()):.2f} s)"
            )
        self.start, self.latest, self.fps = start[fits], latest[fits], fps[fits]
        self.path, self.member = manifest.strings("path", rows[fits]), manifest.strings("member", rows[fits])
        self.timing = manifest.strings("timing", rows[fits])
        count = np.maximum(1, np.floor((stop - start)[fits] / (window.frames * step_s[fits]) + 1e-6)).astype(np.int64)
        self.ends = np.cumsum(count)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def window_at(self, index: int, fraction: float) -> Window:
        """A window of the clip that `index` falls into; `fraction` in [0, 1) says where in it."""
        at = int(np.searchsorted(self.ends, index, side="right"))
        path, member, fps = self.manifest.absolute(self.path[at].as_py()), self.member[at].as_py(), float(self.fps[at])
        timing: Timing | None = self.timing[at].as_py()
        start = self.start[at] + fraction * (self.latest[at] - self.start[at])
        frames = np.arange(self.window.frames)
        if self.window.stride_frames is None:
            return Window(path, member, tuple((start + frames / self.window.fps).tolist()), None, timing, fps)
        first = int(start * fps + 1e-6)  # the frame shown at that time
        return Window(path, member, None, tuple((first + frames * self.window.stride_frames).tolist()), timing, fps)


def _splits(manifest: Manifest) -> str:
    names, counts = np.unique(manifest.column("split").astype(str), return_counts=True)
    return "it has " + (", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True)) or "no clips at all")
