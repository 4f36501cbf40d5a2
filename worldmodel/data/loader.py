"""Windows -> batches: workers that decode, and an endless, restartable stream of updates."""

from __future__ import annotations

import math
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from worldmodel import interrupts
from worldmodel.config import Config
from worldmodel.data.augment import DRAWS
from worldmodel.data.order import Draw, Order, rng, share_of
from worldmodel.data.windows import Window, WindowSource
from worldmodel.manifest import Manifest
from worldmodel.video import VideoError
from worldmodel.video.square import read_square
from worldmodel.window import WindowConfig

_SUBSTITUTES = 4  # windows tried in the place of one that cannot be read
_HELD_OUT_SEED = 20_000  # held-out windows are the same whatever the recipe's seed


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
    max_bad_share: float = Field(0.1, ge=0, le=1)  # of samples that could not be read, above which the run stops
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


class DataError(RuntimeError):
    """Training data could not be had; says what was tried and what to do."""


@dataclass(frozen=True)
class BadClip:
    path: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """What a worker is asked for: a window, and others to take if it cannot be read."""

    id: int
    candidates: tuple[Window, ...]
    draws: tuple[float, ...]  # uniform in [0, 1): augmentation, then where to cut the square
    decode_px: int
    backend: Literal["pyav", "decord"]


@dataclass(frozen=True)
class Batch:
    """One micro-batch: uint8 until it is on the device."""

    frames: Tensor  # uint8 [B, T, H, W, 3]
    draws: Tensor | None  # [B, DRAWS] uniform in [0, 1), or None: not augmented
    ids: Tensor  # int64 [B], which window of which epoch
    chance: int = 0  # a random number of the update, the same on all ranks and micro-batches
    bad: tuple[BadClip, ...] = field(default=())

    def to(self, device: torch.device) -> Batch:
        later = device.type == "cuda"  # pinned there; elsewhere a copy that is not waited for may read memory already freed
        draws = None if self.draws is None else self.draws.to(device, non_blocking=later)
        return Batch(self.frames.to(device, non_blocking=later), draws, self.ids, self.chance, self.bad)

    def pin_memory(self) -> Batch:
        draws = None if self.draws is None else self.draws.pin_memory()
        return Batch(self.frames.pin_memory(), draws, self.ids, self.chance, self.bad)


class WindowReader(Dataset):
    """Decodes what it is asked for; holds nothing."""

    def __getitem__(self, sample: Sample) -> tuple[Tensor, Sample, tuple[BadClip, ...]]:
        bad: list[BadClip] = []
        for window in sample.candidates:
            try:
                frames = read_square(
                    window.path,
                    sample.decode_px,
                    "crop",
                    times_s=window.times_s,
                    indices=window.indices,
                    at=sample.draws[-1],
                    member=window.member,
                    backend=sample.backend,
                    folder_fps=window.file_fps,
                    timing=window.timing,
                )
            except VideoError as error:
                bad.append(BadClip(window.path, str(error)))
                continue
            return torch.from_numpy(frames), sample, tuple(bad)
        tried = "\n  ".join(f"{clip.path}: {clip.reason}" for clip in bad)
        raise DataError(f"{len(bad)} windows in a row could not be read; are the files still there?\n  {tried}")


def _collated(items: list[tuple[Tensor, Sample, tuple[BadClip, ...]]]) -> Batch:
    frames, samples, bad = zip(*items, strict=True)
    draws = torch.tensor([sample.draws[:DRAWS] for sample in samples])
    ids = torch.tensor([sample.id for sample in samples])
    return Batch(torch.stack(frames), draws, ids, bad=tuple(clip for clips in bad for clip in clips))


class Windows:
    """All windows of one split of a recipe's manifests, in the order of the run."""

    def __init__(self, config: DataConfig, window: WindowConfig, split: str, seed: int, decode_px: int) -> None:
        self.config, self.seed, self.decode_px = config, seed, decode_px
        manifests = [Manifest.open(path) for path in config.manifests]
        if split == "val":  # a mixture is held out where any of it is
            manifests = [m for m in manifests if len(m.rows(split))] or manifests[:1]
        self.sources = [WindowSource(manifest, split, window) for manifest in manifests]
        weights = config.weights if split == "train" else None
        self.order = Order(self.sizes, weights, seed)
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
        return [self._sample(draw) for draw in self.order[positions]]

    def _sample(self, draw: Draw) -> Sample:
        chance = rng(self.seed, 2, draw.source, draw.epoch, draw.index)
        fractions = chance.random(DRAWS + 2)
        first = self.sources[draw.source].window_at(draw.index, fractions[0])
        others = []
        for _ in range(_SUBSTITUTES):
            source = self.sources[int(chance.integers(len(self.sources)))]
            others.append(source.window_at(int(chance.integers(len(source))), chance.random()))
        draws = tuple(fractions[1:].tolist())
        return Sample(_identity(draw), (first, *others), draws, self.decode_px, self.config.backend)

    def ids(self, update: int) -> list[int]:
        """Which windows the whole global batch of an update holds, in order, on all ranks."""
        draws = self.order[share_of(update, self.config.batch_size, 0, 1, 0, 1)]
        return [_identity(draw) for draw in draws]

    def paths(self, update: int) -> list[str]:
        """Files the global batch of an update is read from, each once."""
        samples = self.samples(share_of(update, self.config.batch_size, 0, 1, 0, 1))
        return list(dict.fromkeys(sample.candidates[0].path for sample in samples))


class _MicroBatches(Sampler):
    """Lists of samples, one list a micro-batch, from one update to another."""

    def __init__(self, windows: Windows, first: int, last: int, rank: int, ranks: int, micros: int) -> None:
        self.windows, self.updates, self.rank, self.ranks, self.micros = windows, range(first, last), rank, ranks, micros

    def __iter__(self) -> Iterator[list[Sample]]:
        batch_size = self.windows.config.batch_size
        for update in self.updates:
            for micro in range(self.micros):
                yield self.windows.samples(share_of(update, batch_size, self.rank, self.ranks, micro, self.micros))

    def __len__(self) -> int:
        return len(self.updates) * self.micros


def updates(
    windows: Windows,
    first: int,
    last: int,
    *,
    rank: int = 0,
    ranks: int = 1,
    micros: int = 1,
    pin: bool = False,
) -> Iterator[list[Batch]]:
    """The micro-batches of updates first..last-1 of this rank, one list an update.

    Raises DataError if a worker dies or hangs, or too many files in a row cannot be read.
    """
    sampler = _MicroBatches(windows, first, last, rank, ranks, micros)
    stream = _started(windows, sampler, pin)
    for update in range(first, last):
        chance = int(rng(windows.seed, 3, update).integers(2**63))
        yield [replace(_next(stream, windows), chance=chance) for _ in range(micros)]


def held_out(windows: Windows, count: int) -> Batch:
    """A fixed set of windows, decoded once and kept: at most `count`, centre square, not augmented."""
    count = min(count, 4 * len(windows))  # windows overlap where there are few, but not without end
    samples = [
        Sample(s.id, s.candidates, (*s.draws[:-1], 0.5), s.decode_px, s.backend) for s in windows.samples(np.arange(count))
    ]
    size = 8
    lists = [samples[at : at + size] for at in range(0, count, size)]
    stream = _started(windows, lists, pin=False)
    batches = [_next(stream, windows) for _ in lists]
    bad = tuple(clip for batch in batches for clip in batch.bad)
    return Batch(torch.cat([b.frames for b in batches]), None, torch.cat([b.ids for b in batches]), bad=bad)


def open_windows(config: DataConfig, window: WindowConfig, seed: int, crops: bool) -> tuple[Windows, Windows]:
    """Training and held-out windows of a recipe. Raises ManifestError where either has none."""
    wider = math.ceil(window.size_px * 9 / 8) if crops else window.size_px
    train = Windows(config, window, "train", seed, config.decode_px or wider)
    return train, Windows(config, window, "val", _HELD_OUT_SEED, window.size_px)


def _started(windows: Windows, batches: Sampler | list[list[Sample]], pin: bool) -> Iterator[Batch]:
    """The micro-batches, once the workers that decode them are started."""
    with interrupts.held() if windows.config.workers else nullcontext():
        return iter(_loader(windows, batches, pin))


def _loader(windows: Windows, batches: Sampler | list[list[Sample]], pin: bool) -> DataLoader:
    workers = windows.config.workers
    return DataLoader(
        WindowReader(),
        batch_sampler=batches,
        collate_fn=_collated,
        num_workers=workers,
        # spawned, not forked: the same on every system, and safe with the threads of torch and of the decoder
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=windows.config.prefetch if workers else None,
        timeout=windows.config.worker_timeout_s if workers else 0,
        pin_memory=pin,
        worker_init_fn=_follow_parent if workers else None,
    )


def _follow_parent(_worker: int) -> None:
    """Leave signals that reach the whole group (Ctrl-C, a scheduler's SIGTERM) to the parent, and end when it ends.

    DataLoader's own watch misses a parent that died while the worker was still starting: such a worker would stay for ever.
    """
    interrupts.leave_to_parent(signal.SIGINT, signal.SIGTERM)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    # The last thing that a worker does. Else the interpreter is taken down beside threads of torch and of the decoder, and at
    # times one of them aborts: a worker that ended as it should would count as one that crashed.
    multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=-1000)


def _next(stream: Iterator[Batch], windows: Windows) -> Batch:
    try:
        return next(stream)
    except DataError as error:  # raised in a worker: DataLoader wraps its traceback around our words
        raise DataError(str(error).rpartition("DataError: ")[2].strip()) from None
    except (RuntimeError, ConnectionError, EOFError) as error:
        if (trouble := worker_trouble(error, windows.config.worker_timeout_s)) is None:
            raise
        raise trouble from error


def worker_trouble(error: BaseException, timeout_s: float = 0.0) -> DataError | None:
    """What an error says of the workers, in words; None where it is not about them.

    DataLoader has no types for it: a worker that dies is a RuntimeError from its signal handler, wherever the process is at
    that moment, or a broken pipe; one that hangs is a RuntimeError when the wait is over.
    """
    text = str(error)
    if "DataLoader timed out" in text:
        return DataError(
            f"no batch within data.worker_timeout_s = {timeout_s:g} s: a worker hangs, or storage is slower than that. "
            "Raise the limit, or set data.workers=0 to see where it stands still"
        )
    if "DataLoader worker" in text or isinstance(error, ConnectionError | EOFError):
        return DataError(
            f"a data worker died ({text.split('. ')[0]}); most often the machine ran out of memory: "
            "lower data.workers or data.prefetch"
        )
    return None


def _identity(draw: Draw) -> int:
    """One number a sample: 8 bits of source, 15 of epoch, 40 of window."""
    return (draw.source << 55) | ((draw.epoch & 0x7FFF) << 40) | draw.index
