"""Cost of data workers: `python -m benchmarks.workers`.

CPU time per clip of the worker process beside that of `read_frames` on the same windows, CPU time of the training process per
clip, and the speed of two workers beside one. Every round runs all of them in turn. Videos are made for the measurement.

What two cores can give at most is measured beside it: two processes that share nothing, each of which reads half of the windows
by `read_frames`, or does half of a calculation that needs no memory, against one process that does all of it. Only an idle
machine tells this.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks.measure import Spread, add_out, describe_machine, markdown_table, spread_of, write_results
from benchmarks.separate_processes import Read, read_all, speedup_of_arithmetic, speedup_of_reading, two_processes
from worldmodel.data.batch_reader import BatchReader
from worldmodel.data.data_config import DataConfig
from worldmodel.data.loader import WindowDataset, training_batches
from worldmodel.data.window_config import WindowConfig
from worldmodel.manifest import Clip, write_manifest
from worldmodel.video import write_video

_CLIPS = 24  # videos of a workload
_BATCH = 8
_FPS = 12
SPREADS = ("main_ms", "speedup", "reading_speedup", "arithmetic_speedup")


@dataclass(frozen=True)
class Workload:
    """Videos and the windows that are read from them."""

    name: str
    width: int
    height: int
    window: WindowConfig
    reads: int  # clips per measurement


WORKLOADS = (
    Workload("24 x 64 px, square videos (the demo)", 64, 64, WindowConfig(frames=24, fps=_FPS, size_px=64), 384),
    Workload("16 x 224 px, cut from 298 x 224", 298, 224, WindowConfig(frames=16, fps=_FPS, size_px=224), 96),
)


@dataclass(frozen=True)
class Round:
    """One round. CPU times are in milliseconds per clip."""

    read_frames_ms: float
    worker_ms: float  # in the worker process
    main_ms: float  # in this process, all threads
    speedup: float  # wall time of one worker / wall time of two
    reading_speedup: float  # the same of processes that only read
    arithmetic_speedup: float  # the same of processes that only calculate


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each workload (default 9)")
    add_out(parser)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    machine = describe_machine(("torch", "numpy", "av"))
    results, rows = {}, []
    for workload in WORKLOADS:
        with tempfile.TemporaryDirectory() as folder:
            rounds = measure(workload, Path(folder), args.rounds)
        results[workload.name] = [asdict(one) for one in rounds]
        overhead = spread_of([one.worker_ms / one.read_frames_ms for one in rounds])
        rows.append([workload.name, *(_spread(rounds, name) for name in ("read_frames_ms", "worker_ms")), overhead,
                     *(_spread(rounds, name) for name in SPREADS)])  # fmt: skip
    headers = [
        "windows",
        "`read_frames`, ms",
        "worker, ms",
        "worker / `read_frames`",
        "training process, ms",
        "two workers / one",
        "two processes that only read / one",
        "two that only calculate / one",
    ]
    print(f"{machine.line()}\n\n{markdown_table(headers, rows)}")
    write_results(args.out, machine, {"rounds": results})
    return 0


def measure(workload: Workload, folder: Path, count: int) -> list[Round]:
    """Make the videos of a workload and measure `count` rounds."""
    windows = _make_windows(workload, folder)
    samples = windows.samples(np.arange(workload.reads))
    windows_and_sizes = [(sample.window, workload.window.size_px) for sample in samples]
    reads = [Read(it.path, it.times_s, it.indices, size_px, it.timing) for it, size_px in windows_and_sizes]
    with BatchReader(1) as one, BatchReader(2) as two, two_processes() as pool:
        for reader in (one, two):  # unmeasured: the workers start
            _read(reader, windows, 8 * _BATCH)
        pool.map(read_all, [reads[:8]] * 8, chunksize=1)
        return [_measure_round(one, two, pool, windows, reads) for _ in range(count)]


def _measure_round(one: BatchReader, two: BatchReader, pool: Pool, windows: WindowDataset, samples: list[Read]) -> Round:
    before = time.process_time()
    read_all(samples)
    read_s = time.process_time() - before

    workers_before, before, began = _workers_cpu_s(), time.process_time(), time.monotonic()
    _read(one, windows, len(samples))
    one_wall_s = time.monotonic() - began
    worker_s, main_s = _workers_cpu_s() - workers_before, time.process_time() - before
    began = time.monotonic()
    _read(two, windows, len(samples))
    two_wall_s = time.monotonic() - began
    per_clip = 1e3 / len(samples)
    alone = speedup_of_reading(pool, samples), speedup_of_arithmetic(pool)
    return Round(read_s * per_clip, worker_s * per_clip, main_s * per_clip, one_wall_s / two_wall_s, *alone)


def _read(reader: BatchReader, windows: WindowDataset, reads: int) -> None:
    """Read windows as a training does, eight micro-batches ahead."""
    for (batch,) in training_batches(windows, 0, reads // _BATCH, reader=reader):
        assert not batch.bad


def _workers_cpu_s() -> float:
    """CPU time of all data workers of this process."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())


def _make_windows(workload: Workload, folder: Path) -> WindowDataset:
    """Write videos of a texture that moves, and open their windows. A clip holds several windows."""
    clips = []
    shape, length = (workload.width, workload.height), 2 * workload.window.frames
    for number in range(_CLIPS):
        path = folder / f"{number}.mp4"
        write_video(path, _moving_texture(number, *shape, length), _FPS)
        clips.append(Clip(
            str(number), path.name, None, 0.0, length / _FPS, _FPS, length, *shape, 0, "h264", "train", None, None, "made",
            str(number), "packets",
        ))  # fmt: skip
    write_manifest(folder / "m.parquet", clips, command="benchmarks.workers", config={})
    config = DataConfig(manifest=str(folder / "m.parquet"), batch_size=_BATCH, workers=2)
    return WindowDataset(config, workload.window, "train", 0, workload.window.size_px)


def _moving_texture(seed: int, width: int, height: int, length: int) -> np.ndarray:
    """A smooth random texture that moves: uint8 [T, H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3)).astype(np.uint8)
    texture = coarse.repeat(8, axis=0).repeat(8, axis=1)
    down, right = rng.integers(-3, 4, 2)
    return np.stack([np.roll(texture, (t * down, t * right), (0, 1))[:height, :width] for t in range(length)])


def _spread(rounds: Sequence[Round], name: str) -> Spread:
    return spread_of([getattr(one, name) for one in rounds])


if __name__ == "__main__":
    sys.exit(main())
