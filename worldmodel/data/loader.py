"""Windows -> batches: an endless, restartable stream of updates, read ahead by workers."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from itertools import count as count_up
from itertools import islice
from typing import Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from worldmodel.config import Config
from worldmodel.data.augment import DRAWS
from worldmodel.data.batch import BadClip, Batch, DataError, PendingBatch, Replacing, Sample, most_substitutes
from worldmodel.data.order import Draw, Order, rng, share_of
from worldmodel.data.readers import InProcessReader, Patience, Reader, completed, warn
from worldmodel.data.uniforms import uniforms
from worldmodel.data.window_config import WindowConfig
from worldmodel.data.windows import Window, WindowSource, windows_of
from worldmodel.data.worker_pool import WorkerPool
from worldmodel.manifest import Manifest

__all__ = ["BadClip", "Batch", "DataConfig", "DataError", "Sample", "Windows", "held_out", "open_windows", "updates"]

_HELD_OUT_SEED = 20_000  # held-out windows are the same whatever the recipe's seed
_PROBED = 2000  # windows looked at to find the share of the data below a folder


class DataConfig(Config):
    """Where windows come from."""

    manifest: str | tuple[str, ...] = "films/demo/train.parquet"  # Parquet files made by `python -m data_prep`
    make: tuple[str, ...] | None = None  # arguments of `python -m data_prep` that make the manifest where it is missing
    weights: tuple[NonNegativeFloat, ...] | None = None  # share of each manifest; null = one pool, every window once an epoch
    batch_size: PositiveInt = 64  # windows an update, over all processes and micro-batches
    decode_px: PositiveInt | None = None  # short side that is decoded; null = the window's size, an eighth more where it crops
    workers: NonNegativeInt = 2  # processes that decode, per training process
    prefetch: PositiveInt = 4  # micro-batches each of them keeps ready
    worker_timeout_s: NonNegativeFloat = 300.0  # a micro-batch that takes longer ends the run; 0 = wait for ever
    max_failed_fraction: float = Field(0.1, ge=0, le=1)  # of reads that fail, above which the run stops
    storage_wait_s: NonNegativeFloat = 600.0  # how long a missing folder, or storage that does not answer, is waited for
    backend: Literal["pyav", "decord"] = "pyav"  # what decodes; decord is not there on macOS and ARM

    @property
    def manifests(self) -> tuple[str, ...]:
        return (self.manifest,) if isinstance(self.manifest, str) else self.manifest

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if not self.manifests:
            raise ValueError("manifest is an empty list")
        if self.weights is not None:
            if len(self.weights) != len(self.manifests):
                raise ValueError(f"{len(self.weights)} weights for {len(self.manifests)} manifests")
            if min(self.weights) <= 0:
                raise ValueError("weights must be above 0; leave a manifest out instead")
        return self


class Windows:
    """All windows of one split of a recipe's manifests, in the order of the run."""

    def __init__(self, config: DataConfig, window: WindowConfig, split: str, seed: int, decode_px: int) -> None:
        self.config, self.seed, self.decode_px = config, seed, decode_px
        manifests = [Manifest.open(path) for path in config.manifests]
        if split == "val" and len(manifests) > 1:  # a mixture is held out where any of it is
            manifests = [m for m in manifests if len(m.rows(split))] or manifests[:1]
        self.sources = [WindowSource(manifest, split, window) for manifest in manifests]
        weights = config.weights if split == "train" else None
        self.order = Order(self.sizes, weights, seed)
        self._holds_much: dict[str, bool] = {}  # by folder
        self.digests = [manifest.digest() for manifest in manifests] if split == "train" else []  # of the data's content

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """Windows of each source."""
        return [len(source) for source in self.sources]

    @property
    def too_short(self) -> int:
        """Clips left out because no whole window fits into them."""
        return sum(source.too_short for source in self.sources)

    def samples(self, positions: np.ndarray) -> list[Sample]:
        draws = self.order[positions]
        fractions = uniforms([self._key(draw) for draw in draws], DRAWS + 2)
        windows = windows_of(self.sources, draws, fractions[:, 0])
        return [
            Sample(_identity(draw), draw, window, tuple(rest), self.decode_px, self.config.backend)
            for draw, window, rest in zip(draws, windows, fractions[:, 1:].tolist(), strict=True)
        ]

    def substitutes(self, sample: Sample) -> Iterator[Window]:
        """Windows to read in the place of one that cannot be read: a function of the seed and the sample alone."""
        chance = rng(*self._key(sample.draw))
        chance.random(DRAWS + 2)  # what `samples` has drawn
        while True:
            source = self.sources[int(chance.integers(len(self.sources)))]
            yield source.window_at(int(chance.integers(len(source))), chance.random())

    def _key(self, draw: Draw) -> tuple[int, ...]:
        """The key of the random numbers of a sample."""
        return self.seed, 2, draw.source, draw.epoch, draw.index

    def holds_much(self, folder: str) -> bool:
        """Whether more of the windows of any source lie below a folder than may be bad: without it the run cannot go on."""
        if folder not in self._holds_much:
            shares = (_share_below(source, folder) for source in self.sources)
            self._holds_much[folder] = any(share > self.config.max_failed_fraction for share in shares)
        return self._holds_much[folder]

    def ids(self, update: int) -> list[int]:
        """Which windows the whole global batch of an update holds, in order, on all ranks."""
        draws = self.order[share_of(update, self.config.batch_size, 0, 1, 0, 1)]
        return [_identity(draw) for draw in draws]

    def paths(self, update: int) -> list[str]:
        """Files the global batch of an update is read from, each once."""
        samples = self.samples(share_of(update, self.config.batch_size, 0, 1, 0, 1))
        return list(dict.fromkeys(sample.window.path for sample in samples))


def _share_below(source: WindowSource, folder: str) -> float:
    """The share of a source's windows that lie below a folder, of a sample of them."""
    places = np.unique(np.linspace(0, len(source) - 1, _PROBED).astype(np.int64))
    below = os.path.join(folder, "")
    windows = source.windows_at(places, np.zeros(len(places)))
    return float(np.mean([os.path.abspath(window.path).startswith(below) for window in windows]))


def updates(
    windows: Windows,
    first: int,
    last: int,
    *,
    rank: int = 0,
    ranks: int = 1,
    micros: int = 1,
    pin: bool = False,
    say: Callable[[str], None] = warn,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[list[Batch]]:
    """The micro-batches of updates first..last-1 of this rank, one list an update.

    While a micro-batch is waited for, `say` is told of storage that is gone, and the stream ends early where `stopped`.
    Raises DataError if a worker dies or hangs, storage stays away, or no window of a long series can be read.
    """
    config = windows.config
    lists = (
        windows.samples(share_of(update, config.batch_size, rank, ranks, micro, micros))
        for update in range(first, last)
        for micro in range(micros)
    )
    patience = Patience(config.worker_timeout_s if config.workers else 0.0, config.storage_wait_s, say, stopped, ranks == 1)
    stream = _read(windows, lists, patience, pin)
    try:
        for update in range(first, last):
            chance = int(rng(windows.seed, 3, update).integers(2**63))
            batches = [replace(batch, chance=chance) for batch in islice(stream, micros)]
            if len(batches) < micros:
                return
            yield batches
    finally:
        stream.close()


def held_out(windows: Windows, count: int, resumes: bool = False) -> Batch:
    """A fixed set of windows, decoded once and kept: at most `count`, centre square, not augmented.

    Storage that is gone is waited for where training resumes; at its start a wrong path is more likely.
    """
    count = min(count, 4 * len(windows))  # windows overlap where there are few, but not without end
    samples = [replace(sample, draws=(*sample.draws[:-1], 0.5)) for sample in windows.samples(np.arange(count))]
    size = 8
    lists = (samples[at : at + size] for at in range(0, count, size))
    config = windows.config
    patience = Patience(config.worker_timeout_s if config.workers else 0.0, config.storage_wait_s if resumes else 0.0)
    batches = list(_read(windows, lists, patience))
    bad = tuple(clip for batch in batches for clip in batch.bad)
    return Batch(torch.cat([b.frames for b in batches]), None, torch.cat([b.ids for b in batches]), bad=bad)


def open_windows(config: DataConfig, window: WindowConfig, seed: int, crops: bool) -> tuple[Windows, Windows]:
    """Training and held-out windows of a recipe. Raises ManifestError where either has none."""
    wider = math.ceil(window.size_px * 9 / 8) if crops else window.size_px
    train = Windows(config, window, "train", seed, config.decode_px or wider)
    return train, Windows(config, window, "val", _HELD_OUT_SEED, window.size_px)


def _read(
    windows: Windows, lists: Iterator[list[Sample]], patience: Patience, pin: bool = False
) -> Generator[Batch, None, None]:
    """The micro-batches of lists of samples, in order. Ends early where the user asked for an end."""
    config = windows.config
    replacing = Replacing(windows.substitutes, windows.holds_much, most_substitutes(config.max_failed_fraction))
    reader: Reader = WorkerPool(config.workers) if config.workers else InProcessReader()
    waiting: deque[PendingBatch] = deque()

    def read_ahead() -> None:
        for samples in islice(lists, max(1, config.workers * config.prefetch) - len(waiting)):
            pending = PendingBatch(next(numbers), samples, replacing, pin)
            reader.submit(pending)
            waiting.append(pending)

    numbers = count_up()
    try:
        read_ahead()
        while waiting:
            if (batch := completed(reader, waiting.popleft(), patience)) is None:
                return
            read_ahead()
            yield batch
    finally:
        reader.close()


def _identity(draw: Draw) -> int:
    """One number a sample: 8 bits of source, 15 of epoch, 40 of window."""
    return (draw.source << 55) | ((draw.epoch & 0x7FFF) << 40) | draw.index
