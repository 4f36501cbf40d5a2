"""Windows -> batches: an endless, restartable sequence of training steps, read ahead by workers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from worldmodel.data.augmentation.augment import PICTURE_UNIFORMS, UNIFORMS_PER_SAMPLE
from worldmodel.data.batch import BadClip, Batch, DataError, ReplacementPolicy, Sample, max_replacements
from worldmodel.data.batch_reader import BatchReader
from worldmodel.data.batch_waiting import WaitLimits, warn
from worldmodel.data.data_config import DataConfig
from worldmodel.data.keyed_uniforms import keyed_uniforms
from worldmodel.data.order import SampleIndex, SampleOrder, keyed_rng, micro_batch_positions
from worldmodel.data.reading import SignalSizes
from worldmodel.data.token_masks.drawing import MaskRequest, MaskRule
from worldmodel.data.window_config import WindowConfig
from worldmodel.data.windows import SplitClips, Window, WindowSource, clips_that_fit, select_windows
from worldmodel.manifest import Manifest

__all__ = [
    "BadClip",
    "Batch",
    "DataConfig",
    "DataError",
    "Sample",
    "WindowDataset",
    "begin_fixed_batch",
    "open_windows",
    "read_fixed_batch",
    "training_batches",
]

OpenedManifest = tuple[Manifest, Mapping[str, Sequence[SplitClips]]]
"""A manifest, and its clips by split."""

_HELD_OUT_SEED = 20_000  # held-out windows are the same whatever the seed of the recipe is
_SAMPLED_WINDOWS = 2000  # windows from which the fraction of the data below a folder is estimated
_FIXED_CHUNK = 8  # windows per micro-batch of `read_fixed_batch`
_FIXED_AHEAD = 16  # such micro-batches that are read ahead
_DRAWN_AT_ONCE = 8  # micro-batches whose samples are drawn together


class WindowDataset:
    """All windows of one split of a recipe's manifests, in the order of the run."""

    def __init__(
        self,
        config: DataConfig,
        window: WindowConfig,
        split: str,
        seed: int,
        decode_px: int | tuple[int, int],
        signals: SignalSizes | None = None,
        opened: Sequence[OpenedManifest] | None = None,
    ) -> None:
        """signals: sizes of the actions and states that are read with the frames; None: only frames are read.

        opened: the manifests of `config`, if they were read before.
        """
        self.config, self.seed, self.decode_px, self.signals = config, seed, decode_px, signals
        if opened is None:
            opened = open_manifests(config, window, (split,), signals is not None)
        if split == "val" and len(opened) > 1:  # of a mixture, at least one manifest must have held-out clips
            opened = [(manifest, clips) for manifest, clips in opened if any(part.found for part in clips[split])] or opened[:1]
        how = split, window, signals is not None, config.pixel_format == "yuv420p"
        self.sources = [WindowSource(manifest, *how, clips[split]) for manifest, clips in opened]
        weights = config.weights if split == "train" else None
        self.order = SampleOrder(self.sizes, weights, seed)
        self._essential: dict[str, bool] = {}  # by folder
        self.digests = [manifest.digest() for manifest, _ in opened] if split == "train" else []  # of the data's content

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def frame_px(self) -> tuple[int, int]:
        """Height and width of the frames that are decoded."""
        return (self.decode_px, self.decode_px) if isinstance(self.decode_px, int) else self.decode_px

    @property
    def sizes(self) -> list[int]:
        """Number of windows of each source."""
        return [len(source) for source in self.sources]

    @property
    def too_short(self) -> int:
        """Number of clips that were left out because no whole window fits into them."""
        return sum(source.too_short for source in self.sources)

    def samples(self, positions: np.ndarray) -> list[Sample]:
        """Return the samples at the given positions of the run."""
        indices = self.order[positions]
        # per sample: the position of the window in its clip, the augmentation, the position of the square crop. The numbers of
        # occluders are drawn last, so that the others are as they were before there were any.
        uniforms = keyed_uniforms([self._key(index) for index in indices], UNIFORMS_PER_SAMPLE + 2)
        windows = select_windows(self.sources, indices, uniforms[:, 0])
        picture, crop, occluders = np.split(uniforms[:, 1:], (PICTURE_UNIFORMS, PICTURE_UNIFORMS + 1), axis=1)
        uniforms = np.concatenate([picture, occluders, crop], axis=1)
        how = self.decode_px, self.config.backend, self.signals, self.config.pixel_format
        return [
            Sample(_sample_id(index), index, window, tuple(rest), *how)
            for index, window, rest in zip(indices, windows, uniforms.tolist(), strict=True)
        ]

    def replacements(self, sample: Sample) -> Iterator[Window]:
        """Windows to read in place of one that cannot be read: a function of the seed and the sample alone."""
        rng = keyed_rng(*self._key(sample.index))
        rng.random(PICTURE_UNIFORMS + 2)  # those of the window, of the picture and of the crop
        while True:
            source = self.sources[int(rng.integers(len(self.sources)))]
            yield source.window_at(int(rng.integers(len(source))), rng.random())

    def _key(self, index: SampleIndex) -> tuple[int, ...]:
        """The key of the random numbers of a sample."""
        return self.seed, 2, index.source, index.epoch, index.index

    def is_essential(self, folder: str) -> bool:
        """Whether more windows of any source lie below a folder than may fail, so that the run cannot continue without it."""
        if folder not in self._essential:
            fractions = (_fraction_below(source, folder) for source in self.sources)
            self._essential[folder] = any(fraction > self.config.max_failed_fraction for fraction in fractions)
        return self._essential[folder]

    def ids(self, step: int) -> list[int]:
        """Identities of the windows in the global batch of a training step, in order, over all ranks."""
        return [_sample_id(index) for index in self.order[self._global_batch(step)]]

    def paths(self, step: int) -> list[str]:
        """Files that the global batch of a training step is read from, each once."""
        return list(dict.fromkeys(sample.window.path for sample in self.samples(self._global_batch(step))))

    def _global_batch(self, step: int) -> np.ndarray:
        return micro_batch_positions(step, self.config.batch_size, 0, 1, 0, 1)


def _fraction_below(source: WindowSource, folder: str) -> float:
    """The fraction of a source's windows that lie below a folder, estimated from a sample of them."""
    indices = np.unique(np.linspace(0, len(source) - 1, _SAMPLED_WINDOWS).astype(np.int64))
    below = os.path.join(folder, "")
    windows = source.windows_at(indices, np.zeros(len(indices)))
    return float(np.mean([os.path.abspath(window.path).startswith(below) for window in windows]))


def training_batches(
    windows: WindowDataset,
    first: int,
    last: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    micro_batches: int = 1,
    pin: bool = False,
    report: Callable[[str], None] = warn,
    stop_requested: Callable[[], bool] = lambda: False,
    reader: BatchReader | None = None,
    masks: MaskRule | None = None,
) -> Generator[list[Batch], None, None]:
    """Yield the micro-batches of this rank for the training steps first..last-1, one list per step.

    While a micro-batch is waited for, missing storage is reported, and the iteration ends early if `stop_requested`.
    reader: reads them, and is not closed; None for a reader of their own. masks: by which the reader draws masks for them.
    Raises DataError if a worker dies or hangs, storage stays missing, or no window of a long series can be read.
    """
    config = windows.config
    positions = (
        micro_batch_positions(step, config.batch_size, rank, world_size, micro_batch, micro_batches)
        for step in range(first, last)
        for micro_batch in range(micro_batches)
    )
    sample_lists = _sample_lists(windows, positions)
    if masks is not None:
        seeds = (_step_seed(windows, step) for step in range(first, last) for _ in range(micro_batches))
        sample_lists = _with_masks(sample_lists, masks, seeds)
    limits = WaitLimits(_timeout_s(config), config.storage_wait_s, report, stop_requested, single_rank=world_size == 1)
    ahead = max(1, config.workers * config.prefetch)
    with BatchReader(config.workers) if reader is None else nullcontext(reader) as opened:
        batches = opened.read(sample_lists, _policy(windows), limits, ahead=ahead, pin=pin)
        for step in range(first, last):
            step_seed = _step_seed(windows, step)
            step_batches = [replace(batch, step_seed=step_seed) for batch in islice(batches, micro_batches)]
            if len(step_batches) < micro_batches:
                return
            yield step_batches


def read_fixed_batch(windows: WindowDataset, count: int) -> Batch:
    """Read the first windows of the order into one batch, at most `count`: centre crops, not augmented."""
    with BatchReader(windows.config.workers) as reader:
        return begin_fixed_batch(windows, count, reader)()


def begin_fixed_batch(
    windows: WindowDataset, count: int, reader: BatchReader, wait_for_storage: bool = False
) -> Callable[[], Batch]:
    """Begin to read the batch of `read_fixed_batch`. The function that is returned waits for it.

    wait_for_storage: wait for missing storage, as a resumed run does. At the start of a run a wrong path is more likely.
    """
    count = min(count, 4 * len(windows))  # if there are few windows, several overlapping ones of each clip, but not more
    samples = [replace(sample, uniforms=(*sample.uniforms[:-1], 0.5)) for sample in windows.samples(np.arange(count))]
    sample_lists = (samples[at : at + _FIXED_CHUNK] for at in range(0, count, _FIXED_CHUNK))
    config = windows.config
    limits = WaitLimits(_timeout_s(config), config.storage_wait_s if wait_for_storage else 0.0)
    ahead = max(_FIXED_AHEAD, config.workers * config.prefetch)
    stream = reader.read(sample_lists, _policy(windows), limits, ahead=ahead)

    def wait() -> Batch:
        bad: list[BadClip] = []
        frames = torch.empty(count, windows.sources[0].window.frames, *windows.frame_px, 3, dtype=torch.uint8)
        signals: list[tuple[torch.Tensor, torch.Tensor]] = []
        for part, batch in zip(frames.split(_FIXED_CHUNK), stream, strict=True):
            part.copy_(batch.to(frames.device).frames)
            bad += batch.bad
            if batch.actions is not None and batch.states is not None:
                signals.append((batch.actions, batch.states))
        actions, states = map(torch.cat, zip(*signals, strict=True)) if signals else (None, None)
        ids = torch.tensor([sample.id for sample in samples])
        return Batch(frames, None, ids, bad=tuple(bad), actions=actions, states=states)

    return wait


def decode_size_px(config: DataConfig, window: WindowConfig, crops: bool) -> int:
    """Short side of the frames that are decoded for training; an eighth larger than the window if augmentation crops."""
    short_px = min(window.frame_px)
    return config.decode_px or (math.ceil(short_px * 9 / 8) if crops else short_px)


def decode_frame_px(config: DataConfig, window: WindowConfig, crops: bool) -> int | tuple[int, int]:
    """Size of the frames that are decoded for training: the side of squares; or height and width."""
    short_px, (height, width) = decode_size_px(config, window, crops), window.frame_px
    if height == width:
        return short_px
    scale = short_px / min(height, width)
    return round(height * scale), round(width * scale)


def open_windows(
    config: DataConfig, window: WindowConfig, seed: int, crops: bool, signals: SignalSizes | None = None
) -> tuple[WindowDataset, WindowDataset]:
    """Open the training and the held-out windows of a recipe. Raises ManifestError if either has none.

    crops: whether augmentation crops; training frames are then decoded an eighth larger than the window. signals: sizes of
    the actions and states that are read with the frames; None: only frames are read.
    """
    opened = open_manifests(config, window, ("train", "val"), signals is not None)
    train = WindowDataset(config, window, "train", seed, decode_frame_px(config, window, crops), signals, opened)
    size = window.size_px if len(set(window.frame_px)) == 1 else window.frame_px
    return train, WindowDataset(config, window, "val", _HELD_OUT_SEED, size, signals, opened)


def open_manifests(config: DataConfig, window: WindowConfig, splits: Sequence[str], signals: bool) -> list[OpenedManifest]:
    """Open the manifests of a recipe, and read the clips of some splits in one pass over each."""
    manifests = [Manifest.open(path) for path in config.manifests]
    planes = config.pixel_format == "yuv420p"
    return [(manifest, clips_that_fit(manifest, splits, window, signals, planes)) for manifest in manifests]


def _sample_lists(windows: WindowDataset, positions: Iterator[np.ndarray]) -> Iterator[list[Sample]]:
    """The samples of each micro-batch. They are drawn for several micro-batches at once, which takes half the time."""
    while several := list(islice(positions, _DRAWN_AT_ONCE)):
        samples = iter(windows.samples(np.concatenate(several)))
        yield from (list(islice(samples, len(one))) for one in several)


def _with_masks(sample_lists: Iterator[list[Sample]], rule: MaskRule, seeds: Iterator[int]) -> Iterator[list[Sample]]:
    """The same samples, with the masks of their windows in the training step that they belong to."""
    for samples, seed in zip(sample_lists, seeds, strict=True):
        yield [replace(sample, masks=MaskRequest(rule, seed, sample.id)) for sample in samples]


def _step_seed(windows: WindowDataset, step: int) -> int:
    """The random number of a training step."""
    return int(keyed_rng(windows.seed, 3, step).integers(2**63))


def _policy(windows: WindowDataset) -> ReplacementPolicy:
    return ReplacementPolicy(windows.replacements, windows.is_essential, max_replacements(windows.config.max_failed_fraction))


def _timeout_s(config: DataConfig) -> float:
    """How long a micro-batch may take; without workers there is no limit, because nobody could enforce it."""
    return config.worker_timeout_s if config.workers else 0.0


def _sample_id(index: SampleIndex) -> int:
    """One number per sample: 8 bits of source, 15 of epoch, 40 of window."""
    return (index.source << 55) | ((index.epoch & 0x7FFF) << 40) | index.index
