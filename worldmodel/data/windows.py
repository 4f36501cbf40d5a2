"""Manifest rows -> windows: how many windows fit into a clip, and which frames each window holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worldmodel.data.order import SampleIndex
from worldmodel.data.window_config import WindowConfig
from worldmodel.manifest import Manifest, ManifestError
from worldmodel.video.container.timing import Timing
from worldmodel.video.packet_index.index_file import packet_index_path
from worldmodel.video.planes import planes_bytes

_TEXTS = ("path", "member", "timing", "crop")
_NUMBERS = ("start_s", "stop_s", "fps", "first_frame", "frames")


@dataclass(frozen=True)
class Window:
    """Frames of one file, by time or by number; exactly one of `times_s` and `indices` is given."""

    path: str
    member: str | None
    times_s: tuple[float, ...] | None
    indices: tuple[int, ...] | None
    timing: Timing | None  # how frames of the file are found; None = to be analysed
    file_fps: float  # playing rate of a folder of frames, which has no clock of its own
    signals: str | None = None  # the table of its actions and states, where these are read
    packet_index: str | None = None  # the index beside the manifest, if there is one
    frame_bytes: int = 0  # of a decoded frame as planes, where planes are read
    crop: str | None = None  # what is read of each frame, as in the manifest


class WindowSource:
    """Windows of one split of one manifest. A clip counts as often as whole windows fit into it, but at least once.

    Used in the main process only. Workers receive single windows and never the table, so their memory use is constant.
    """

    def __init__(
        self,
        manifest: Manifest,
        split: str,
        window: WindowConfig,
        signals: bool = False,
        planes: bool = False,
        clips: Sequence[SplitClips] | None = None,
    ) -> None:
        """signals: windows also name the tables of actions and states. planes: and the bytes of a frame as planes.

        clips: what `clips_that_fit` found for this split, if it was read before.
        """
        self.manifest, self.split, self.window = manifest, split, window
        index = packet_index_path(manifest.path)
        self.packet_index = str(index) if manifest.url is None and index.is_file() else None
        if manifest.metadata.get("config", {}).get("kind") == "suite":
            raise ManifestError(
                f"{manifest.path}: these videos are a benchmark, and some of them are impossible; a model that was trained on "
                "them cannot be evaluated on them. Train on the train.parquet that was made beside it"
            )
        clips = clips_that_fit(manifest, (split,), window, signals, planes)[split] if clips is None else clips
        found, longest_s = sum(part.found for part in clips), max((part.longest_s for part in clips), default=0.0)
        if not found:
            raise ManifestError(
                f"{manifest.path}: no clip has split {split!r}; {_split_counts(manifest)}. Training needs train and val: make "
                "it again with more videos or another `--val` of the command that made it, or name another one in data.manifest"
            )
        clips = [part for part in clips if len(part.fps)]
        if not clips:
            raise ManifestError(
                f"{manifest.path}: none of its {found} {split} clips holds one window of {window.frames} frames at "
                f"{window.fps:g} fps (the longest lasts {longest_s:.2f} s)"
            )
        self.start, self.latest, self.fps = (
            np.concatenate([getattr(part, name) for part in clips]) for name in ("start", "latest", "fps")
        )
        self.ends = np.cumsum(np.concatenate([part.count for part in clips]))
        self.frame_bytes = np.concatenate([part.frame_bytes for part in clips]) if planes else None
        self.too_short = found - len(self.fps)
        self._texts = [part.texts for part in clips]
        self._first_rows = np.cumsum([0, *(len(texts[0]) for texts in self._texts)])
        pa.default_memory_pool().release_unused()  # else the allocator keeps 30 MB after reading a million rows

    def __len__(self) -> int:
        return int(self.ends[-1])

    def window_at(self, index: int, fraction: float) -> Window:
        """Return a window of the clip that `index` falls into; `fraction` in [0, 1) is its relative start in the clip."""
        return self.windows_at(np.array([index]), np.array([fraction]))[0]

    def windows_at(self, indices: np.ndarray, fractions: np.ndarray) -> list[Window]:
        """`window_at` for many indices, int64 [P], and fractions, float64 [P]."""
        clips = np.searchsorted(self.ends, indices, side="right")
        batches = np.searchsorted(self._first_rows, clips, side="right") - 1
        fps, frames = self.fps[clips], np.arange(self.window.frames)
        start, latest, by_time = self.start[clips], self.latest[clips], self.window.stride_frames is None
        if self.window.stride_frames is None:
            chosen = (start + fractions * (latest - start))[:, None] + frames / self.window.fps
        else:
            first = start + (fractions * (latest - start + 1)).astype(np.int64)
            chosen = first[:, None] + frames * self.window.stride_frames
        frame_bytes = [0] * len(clips) if self.frame_bytes is None else self.frame_bytes[clips].tolist()
        rows, rates = (clips - self._first_rows[batches]).tolist(), fps.tolist()
        windows = []
        for batch, row, rate, numbers, nbytes in zip(batches.tolist(), rows, rates, chosen.tolist(), frame_bytes, strict=True):
            path, member, timing, crop, *more = (column[row].as_py() for column in self._texts[batch])
            signals = self.manifest.absolute(more[0]) if more and more[0] is not None else None
            times_s, frame_numbers = (tuple(numbers), None) if by_time else (None, tuple(numbers))
            found = self.manifest.absolute(path), member, times_s, frame_numbers, timing, rate, signals
            windows.append(Window(*found, self.packet_index, nbytes, crop))
        return windows


def select_windows(sources: Sequence[WindowSource], samples: Sequence[SampleIndex], fractions: np.ndarray) -> list[Window]:
    """Return the window of every sample; `fractions`, float64 [P] in [0, 1), are the relative starts in the clips."""
    windows: dict[int, Window] = {}
    for number, source in enumerate(sources):
        positions = [i for i, sample in enumerate(samples) if sample.source == number]
        indices = np.array([samples[i].index for i in positions], dtype=np.int64)
        windows.update(zip(positions, source.windows_at(indices, fractions[positions]), strict=True))
    return [windows[i] for i in range(len(samples))]


@dataclass(frozen=True)
class SplitClips:
    """The clips of a split in one batch of rows. The arrays hold only clips that are long enough for a window."""

    found: int  # clips of the split, of any length
    longest_s: float
    start: np.ndarray  # earliest start of a window: in seconds; with a stride in frames, the number of a frame of the file
    latest: np.ndarray  # latest start of a window, likewise
    fps: np.ndarray
    count: np.ndarray  # how often an epoch contains the clip
    texts: tuple[pa.Array, ...]  # path, member, timing, crop, and signals where they are read
    frame_bytes: np.ndarray  # of a frame as planes; empty where planes are not read


def clips_that_fit(
    manifest: Manifest, splits: Sequence[str], window: WindowConfig, signals: bool, planes: bool
) -> dict[str, list[SplitClips]]:
    """The clips of several splits that hold a window, in one pass over a manifest. signals, planes: see WindowSource."""
    columns, sizes = (*_TEXTS, *(("signals",) if signals else ())), ("height", "width") if planes else ()
    numbers = ("first_frame", "frames") if window.stride_frames is not None else ()
    found: dict[str, list[SplitClips]] = {split: [] for split in splits}
    for batch in manifest.batches(("split", "start_s", "stop_s", "fps", *columns, *sizes, *numbers)):
        for split, clips in found.items():
            clips.append(_clips_of(batch, split, window, columns, sizes))
    return found


def _clips_of(
    batch: pa.RecordBatch, split: str, window: WindowConfig, texts: Sequence[str], sizes: Sequence[str]
) -> SplitClips:
    """texts: names of columns that windows need. sizes: height and width, if planes are read."""
    in_split = pc.equal(batch.column("split"), split)
    numbers = batch.select([name for name in batch.schema.names if name in _NUMBERS]).filter(in_split)
    start_s, stop_s, fps = (numbers.column(name).to_numpy() for name in ("start_s", "stop_s", "fps"))
    start, latest, count = (_starts_by_time if window.stride_frames is None else _starts_by_number)(numbers, window)
    fits = latest >= start
    rows = pa.array(np.flatnonzero(in_split.to_numpy(zero_copy_only=False))[fits])
    compact = tuple(_compact(batch.column(name).take(rows)) for name in texts)
    size_px = [batch.column(name).take(rows).to_numpy().astype(np.int64) for name in sizes]
    frame_bytes = planes_bytes(*size_px) if size_px else np.zeros(0, np.int64)
    longest_s = float((stop_s - start_s).max(initial=0.0))
    return SplitClips(len(fps), longest_s, start[fits], latest[fits], fps[fits], count[fits], compact, frame_bytes)


def _starts_by_time(batch: pa.RecordBatch, window: WindowConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Earliest and latest start of a window in each clip, in seconds, and how many windows fit into the clip, at least 1."""
    start, stop, fps = (batch.column(name).to_numpy() for name in ("start_s", "stop_s", "fps"))
    # the last frame of a window must be shown within the clip; half a frame of the file absorbs rounding of its times
    latest = stop - (window.frames - 1) / window.fps - 0.5 / fps
    return start, latest, _whole_windows((stop - start) * window.fps / window.frames)


def _starts_by_number(batch: pa.RecordBatch, window: WindowConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_starts_by_time`, but a start is the number of a frame in the file.

    Where a manifest does not state the first frame of a clip, frames count at the average rate.
    """
    assert window.stride_frames is not None
    start_s, stop_s, fps = (batch.column(name).to_numpy() for name in ("start_s", "stop_s", "fps"))
    by_rate = (start_s * fps + 1e-6).astype(np.int64)  # the frame shown at that time
    stated = batch.column("first_frame").is_valid().to_numpy(zero_copy_only=False)
    first = pc.fill_null(pc.coalesce(batch.column("first_frame"), pa.array(by_rate)), 0).to_numpy()
    # half a frame absorbs rounding of times, as above
    frames = np.where(stated, batch.column("frames").to_numpy(), (stop_s * fps + 0.5).astype(np.int64) - by_rate)
    latest = first + frames - (window.frames - 1) * window.stride_frames - 1
    return first, latest, _whole_windows(frames / (window.frames * window.stride_frames))


def _whole_windows(count: np.ndarray) -> np.ndarray:
    return np.maximum(1, np.floor(count + 1e-6)).astype(np.int64)


def _compact(texts: pa.Array) -> pa.Array:
    """The same texts in less memory if they repeat: uncompacted, a million nulls cost 8 MB and a million equal words 11 MB."""
    if texts.null_count == len(texts):
        return pa.nulls(len(texts))
    if len(texts[:256].unique()) > 127 or len((encoded := texts.dictionary_encode()).dictionary) > 127:
        return texts
    return pa.DictionaryArray.from_arrays(encoded.indices.cast(pa.int8()), encoded.dictionary)


def _split_counts(manifest: Manifest) -> str:
    names, counts = np.unique(manifest.column("split").astype(str), return_counts=True)
    return "it has " + (", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True)) or "no clips at all")
