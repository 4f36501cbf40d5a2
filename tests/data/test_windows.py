"""From rows of a manifest to windows: their number, their position in the clip, and the memory they need."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from worldmodel.data.loader import DataConfig, WindowDataset, training_batches
from worldmodel.data.order import SampleIndex
from worldmodel.data.window_config import WindowConfig
from worldmodel.data.windows import WindowSource, select_windows
from worldmodel.manifest import Clip, Manifest, ManifestError, write_manifest
from worldmodel.video import write_video

TEN_SECONDS = Clip("0", "a.mp4", None, 0.0, 10.0, 30.0, 300, 64, 48, 0, "h264", "train", None, None, "test", "0")


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def manifest_of(folder: Path, *clips: Clip) -> Manifest:
    write_manifest(folder / "m.parquet", clips, command="test", config={})
    return Manifest.open(folder / "m.parquet")


def test_a_clip_counts_as_often_as_whole_windows_fit_and_at_least_once(tmp_path: Path):
    window = WindowConfig(frames=20, fps=10)  # 2 s
    lengths = {10.0: 5, 5.9: 2, 2.0: 1, 1.95: 1}  # 1.95 s: the last of 20 frames is shown at 1.9 s
    for stop_s, count in lengths.items():
        assert len(WindowSource(manifest_of(tmp_path, replace(TEN_SECONDS, stop_s=stop_s)), "train", window)) == count


def test_a_clip_too_short_for_a_window_is_left_out_and_counted(tmp_path: Path):
    manifest = manifest_of(tmp_path, TEN_SECONDS, replace(TEN_SECONDS, stop_s=1.5))
    source = WindowSource(manifest, "train", WindowConfig(frames=20, fps=10))
    assert (len(source), source.too_short) == (5, 1)


def test_windows_lie_within_their_clip(tmp_path: Path):
    """A clip that is a part of a file (train and val of one file, split in time) never shows the other part."""
    manifest = manifest_of(tmp_path, replace(TEN_SECONDS, start_s=3.0, stop_s=7.0))
    source = WindowSource(manifest, "train", WindowConfig(frames=20, fps=10))
    for fraction in (0.0, 0.5, 0.9999):
        times = source.window_at(0, fraction).times_s
        assert times is not None
        assert times[0] >= 3.0
        assert times[-1] < 7.0
        assert np.allclose(np.diff(times), 0.1)


def test_a_stride_takes_every_nth_frame_of_the_file(tmp_path: Path):
    source = WindowSource(manifest_of(tmp_path, TEN_SECONDS), "train", WindowConfig(frames=16, fps=7.5, stride_frames=4))
    assert source.window_at(0, 0.0).indices == tuple(range(0, 64, 4))
    last = source.window_at(0, 0.99999).indices
    assert last is not None
    assert max(last) <= 299


def test_a_table_of_another_program_may_count_the_frames_of_the_whole_file(tmp_path: Path):
    """Without `first_frame`, windows follow from the interval, so a clip never shows the other split."""
    clips = [replace(TEN_SECONDS, stop_s=8.0), replace(TEN_SECONDS, start_s=8.0, split="val")]
    manifest, window = manifest_of(tmp_path, *clips), WindowConfig(frames=4, fps=10, stride_frames=5)
    for split, first, last in (("train", 0, 239), ("val", 240, 299)):
        chosen = WindowSource(manifest, split, window).windows_at(np.zeros(200, np.int64), np.linspace(0, 0.9999, 200))
        numbers = [number for item in chosen for number in item.indices or ()]
        assert (min(numbers), max(numbers)) == (first, last)


def test_with_a_stride_each_start_that_fits_is_equally_likely(tmp_path: Path):
    """Whatever the rate is: frames 37 to 46 hold six windows of three frames, two frames apart."""
    clip = replace(TEN_SECONDS, start_s=2.0, stop_s=9.0, frames=10, first_frame=37)
    source = WindowSource(manifest_of(tmp_path, clip), "train", WindowConfig(frames=3, fps=10, stride_frames=2))
    windows = source.windows_at(np.zeros(60, np.int64), np.arange(60) / 60)
    starts = np.array([window.indices for window in windows])[:, 0]
    assert np.bincount(starts, minlength=43)[37:].tolist() == [10] * 6
    assert {window.indices for window in windows} == {(first, first + 2, first + 4) for first in range(37, 43)}


@pytest.mark.parametrize("stride", [None, 3])
def test_windows_requested_together_equal_windows_requested_one_by_one(tmp_path: Path, stride: int | None):
    clips = [replace(TEN_SECONDS, path=f"{n}.mp4", member="m" * (n % 3) or None, stop_s=1.5 + n % 7) for n in range(300)]
    source = WindowSource(manifest_of(tmp_path, *clips), "train", WindowConfig(frames=8, fps=10, stride_frames=stride))
    indices = np.random.default_rng(0).integers(0, len(source), 100)
    fractions = np.random.default_rng(1).random(100)
    together = source.windows_at(indices, fractions)
    assert together == [source.window_at(int(i), f) for i, f in zip(indices, fractions, strict=True)]
    at = int(np.searchsorted(source.ends, indices[5], side="right"))
    assert (together[5].path, together[5].member) == (str(tmp_path / clips[at].path), clips[at].member)
    samples = [SampleIndex(0, 0, int(index)) for index in indices]
    assert select_windows([source], samples, fractions) == together


def test_an_empty_split_is_refused_with_the_splits_that_exist(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"no clip has split 'val'; it has 1 train. Training needs train and val: make"):
        WindowSource(manifest_of(tmp_path, TEN_SECONDS), "val", WindowConfig())


def test_a_benchmark_is_not_trained_on(tmp_path: Path):
    write_manifest(tmp_path / "suite.parquet", [TEN_SECONDS], command="test", config={"kind": "suite"})
    with pytest.raises(ManifestError, match="cannot be evaluated on them"):
        WindowSource(Manifest.open(tmp_path / "suite.parquet"), "train", WindowConfig())


def test_a_sample_has_the_same_pixels_in_every_batch(tmp_path: Path):
    clips = []
    for number in range(4):
        write_video(tmp_path / f"{number}.mp4", noise(number, 20, 32, 48), 10, lossless=True)
        clips.append(replace(TEN_SECONDS, path=f"{number}.mp4", stop_s=2.0, fps=10.0, frames=20))
    manifest_of(tmp_path, *clips)
    window = WindowConfig(frames=8, fps=10, size_px=32)
    by_size = {}
    for size in (2, 4):
        config = DataConfig(manifest=str(tmp_path / "m.parquet"), batch_size=size, workers=0)
        stream = training_batches(WindowDataset(config, window, "train", seed=3, decode_px=32), 0, 8 // size)
        by_size[size] = {int(i): frame for (batch,) in stream for i, frame in zip(batch.ids, batch.frames, strict=True)}
    assert by_size[2].keys() == by_size[4].keys()
    assert len(by_size[2]) == 8
    assert all((by_size[2][i] == by_size[4][i]).all() for i in by_size[2])


@pytest.mark.slow
def test_memory_of_workers_is_flat_over_200_000_rows(tmp_path: Path):
    """Workers are sent windows, never the table; the parent holds columns of numbers."""
    write_video(tmp_path / "a.mp4", noise(0, 20, 32, 32), 10)
    row = replace(TEN_SECONDS, path="a.mp4", stop_s=2.0, fps=10.0, frames=20)
    manifest_of(tmp_path, *(replace(row, clip_id=f"{i:016x}") for i in range(200_000)))
    config = DataConfig(manifest=str(tmp_path / "m.parquet"), batch_size=16, workers=1)
    before = psutil.Process().memory_info().rss
    windows = WindowDataset(config, WindowConfig(frames=8, fps=10, size_px=32), "train", seed=0, decode_px=32)
    assert len(windows) == 400_000
    assert psutil.Process().memory_info().rss - before < 150e6
    sizes = []
    for update, _ in enumerate(training_batches(windows, 0, 600)):
        if update in (300, 599):
            (worker,) = (c for c in psutil.Process().children() if "worldmodel.data.worker" in " ".join(c.cmdline()))
            sizes.append(worker.memory_info().rss)
    assert sizes[1] - sizes[0] < 20e6, f"{(sizes[1] - sizes[0]) / 1e6:.0f} MB more after 300 steps"
