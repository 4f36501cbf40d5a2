"""Samples, the micro-batches made of them, and the replacement of windows that cannot be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.order import SampleIndex
from worldmodel.data.planar.frames import PlanarFrames
from worldmodel.data.reading import (
    Place,
    ReadFailure,
    ReadRequest,
    SignalRequest,
    SignalSizes,
    WindowSignals,
    frame_times_s,
)
from worldmodel.data.token_masks.drawing import MaskRequest, WindowMasks
from worldmodel.data.token_masks.stacked import BatchMasks, stack_masks
from worldmodel.data.windows import Window
from worldmodel.process.devices import to_device
from worldmodel.process.terminal import escape_line
from worldmodel.video.backends import Backend
from worldmodel.video.container.source import shown_name
from worldmodel.video.planes import FrameLayout, PixelFormat


class DataError(RuntimeError):
    """Training data that cannot be read. The message says what was tried and what to do."""


@dataclass(frozen=True)
class BadClip:
    """A window that could not be read: its file (`shard.tar::clip.mp4` for a tar member) and the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """A window and the random numbers of its augmentation. `index` seeds the choice of replacement windows."""

    id: int
    index: SampleIndex
    window: Window
    uniforms: tuple[float, ...]  # random numbers in [0, 1): those of the augmentation, then the position of the square crop
    decode_px: int | tuple[int, int]  # side of squares; or height and width
    backend: Backend
    signals: SignalSizes | None = None  # None: only frames are read
    pixel_format: PixelFormat = "rgb24"
    masks: MaskRequest | None = None  # masks that are drawn beside the reading


@dataclass(frozen=True)
class Batch:
    """One micro-batch. Frames stay uint8 until they are on the device."""

    frames: Tensor  # uint8 [B, T, H, W, 3]; empty where there are planes
    uniforms: Tensor | None  # [B, UNIFORMS_PER_SAMPLE] random numbers in [0, 1); None: not augmented
    ids: Tensor  # int64 [B], identifies window and epoch of each sample
    step_seed: int = 0  # a random number of the training step, the same on all ranks and micro-batches
    bad: tuple[BadClip, ...] = field(default=())
    actions: Tensor | None = None  # float32 [B, T - 1, k * A]: all actions between two frames, in their order; or not read
    states: Tensor | None = None  # float32 [B, T, S], at the frames
    planes: PlanarFrames | None = None  # the frames until they are on the device, with data.pixel_format yuv420p
    through_container: int = 0  # windows that were not read by the packet index beside their manifest
    masks: BatchMasks | None = None  # of the masked family; None: the model draws them

    def to(self, device: torch.device) -> Batch:
        """Copy frames, random numbers, signals and masks to a device; ids stay on the CPU. Planes become RGB frames there."""
        frames = to_device(self.frames, device) if self.planes is None else self.planes.to_rgb(device)
        uniforms, actions, states = (
            None if values is None else to_device(values, device) for values in (self.uniforms, self.actions, self.states)
        )
        given = self.ids, self.step_seed, self.bad, actions, states
        masks = None if self.masks is None else self.masks.to(device)
        return Batch(frames, uniforms, *given, through_container=self.through_container, masks=masks)


@dataclass(frozen=True)
class ReplacementPolicy:
    """What to do about a window that cannot be read."""

    replacements: Callable[[Sample], Iterator[Window]]  # windows to try instead: an endless sequence, the same every time
    must_wait_for: Callable[[str], bool]  # whether so many windows lie below a missing folder that the run waits for it
    max_per_sample: int  # replacements of one sample, see `max_replacements`


def max_replacements(max_failed_fraction: float) -> int:
    """How many replacements of a sample are tried, given the fraction of reads that may fail.

    At that fraction, at most 1 sample in 10^12 finds no readable replacement. The result is at least 100, because a few
    failures of a small data set may exceed the fraction, and at most 1,000, so that a data set in which nothing can be read
    is reported soon.
    """
    if max_failed_fraction <= 0:
        return 100
    if max_failed_fraction >= 0.98:
        return 1000
    return min(1000, max(100, math.ceil(math.log(1e-12) / math.log(max_failed_fraction))))


def _places(samples: Sequence[Sample]) -> list[Place]:
    """Where the frames of each sample lie, one after another: each place fits planes of its window, or RGB frames.

    A window that replaces one of them and does not fit is converted to RGB by the worker.
    """
    places: list[Place] = []
    for sample in samples:
        window = sample.window
        height, width = (sample.decode_px,) * 2 if isinstance(sample.decode_px, int) else sample.decode_px
        nbytes = len(window.times_s or window.indices or ()) * max(window.frame_bytes, 3 * height * width)
        begin = places[-1].begin + places[-1].nbytes if places else 0
        places.append(Place(begin, -(-nbytes // 64) * 64))
    return places


def _rounded_up(last: Place) -> int:
    """Bytes of a micro-batch with this last place, rounded up to 3 binary digits: memory of few sizes can be used again."""
    nbytes = last.begin + last.nbytes
    step = 1 << max(0, nbytes.bit_length() - 3)
    return -(-nbytes // step) * step


class PendingBatch:
    """A micro-batch whose frames are being read.

    The reader calls `place_frames` once. It writes the frames of sample i into `buffer(i)`, unless a worker has written them
    into the shared memory, and then calls `mark_read(i)` or `mark_failed(i, failure)`.
    """

    def __init__(self, number: int, samples: Sequence[Sample], policy: ReplacementPolicy, pin: bool = False) -> None:
        self.number, self.samples = number, samples
        self.unread = dict.fromkeys(range(len(samples)))  # indices of samples still to read, in order
        self.missing_storage: ReadFailure | None = None  # set while the batch waits for storage
        self._policy = policy
        self._windows = [sample.window for sample in samples]
        self._replacements: dict[int, Iterator[Window]] = {}
        self._bad: list[list[BadClip]] = [[] for _ in samples]
        self._signals: dict[int, WindowSignals] = {}
        self._masks: dict[int, WindowMasks] = {}
        self._pin = pin
        self._places = _places(samples) if samples[0].pixel_format == "yuv420p" else None
        self._layouts: dict[int, FrameLayout] = {}
        self._through_container = 0
        self._shape = (len(samples), *self.request(0).shape)
        self.nbytes = math.prod(self._shape) if self._places is None else _rounded_up(self._places[-1])  # of the frames
        self._frames: Tensor | None = None  # uint8 [B, T, H, W, 3]; or of planes [bytes]
        self._shared: np.ndarray | None = None  # uint8 [bytes], what a worker writes, if it is not `_frames`

    def request(self, index: int) -> ReadRequest:
        """What to read for a sample: its own window, or the current replacement."""
        sample, window, signals = self.samples[index], self._windows[index], None
        if sample.signals is not None:
            times_s = frame_times_s(window.times_s, window.indices, window.file_fps)
            signals = SignalRequest(window.signals, times_s, sample.signals)
        return ReadRequest(
            window.path, window.member, window.times_s, window.indices, window.timing, window.file_fps,
            sample.decode_px, sample.uniforms[-1], sample.backend, signals, window.packet_index,
            None if self._places is None else self._places[index], window.crop, sample.masks,
        )  # fmt: skip

    def requests(self) -> tuple[tuple[int, ReadRequest], ...]:
        """(index, request) of all samples still to read."""
        return tuple((index, self.request(index)) for index in tuple(self.unread))

    def place_frames(self, shared: np.ndarray | None) -> None:
        """Set where the frames lie: in memory shared with a worker, uint8 [nbytes], or in memory of this process."""
        shape = self._shape if self._places is None else (self.nbytes,)
        if shared is not None and not self._pin:
            self._frames = torch.from_numpy(shared).view(shape)
            return
        self._frames = torch.empty(shape, dtype=torch.uint8, pin_memory=self._pin)
        self._shared = shared

    def buffer(self, index: int) -> np.ndarray:
        """The memory for the frames of a sample: uint8 [bytes]."""
        assert self._frames is not None
        return self._part(self._frames.view(-1).numpy(), index)

    def _part(self, memory: np.ndarray, index: int) -> np.ndarray:
        """The bytes of a sample, [bytes], in memory of the whole micro-batch."""
        size = self.nbytes // len(self.samples)
        place = Place(index * size, size) if self._places is None else self._places[index]
        return memory[place.begin : place.begin + place.nbytes]

    def mark_read(
        self,
        index: int,
        signals: WindowSignals | None = None,
        layout: FrameLayout | None = None,
        through_container: bool = False,
        masks: WindowMasks | None = None,
    ) -> None:
        """Note that the frames of a sample are in its buffer or in the shared memory, and keep what was read beside them."""
        self._through_container += through_container
        if masks is not None:
            self._masks[index] = masks
        if signals is not None:
            self._signals[index] = signals
        if layout is not None:
            self._layouts[index] = layout
        if self._shared is not None:  # memory of other processes cannot be pinned
            used = None if layout is None else layout.nbytes * self._shape[1]
            np.copyto(self.buffer(index)[:used], self._part(self._shared, index)[:used])
        self.missing_storage = None
        del self.unread[index]

    def mark_failed(self, index: int, failure: ReadFailure) -> None:
        """Replace a window that cannot be read, or note that its storage is missing.

        Raises DataError for a limit of this machine, and after too many replacements of one sample.
        """
        path = shown_name(self._windows[index].path, self._windows[index].member)
        if failure.kind == "machine":
            raise DataError(
                f"{failure.reason} (while {escape_line(path)} was read). This is a limit of this machine, not a damaged clip. "
                "Free that resource or raise the limit (`ulimit -n` for open files); the same command resumes from the last "
                "checkpoint"
            )
        if failure.kind == "storage" or (failure.kind == "folder" and self._policy.must_wait_for(failure.folder)):
            self.missing_storage = failure
            return
        self.missing_storage = None
        bad = self._bad[index]
        bad.append(BadClip(path, failure.reason))
        if len(bad) > self._policy.max_per_sample:
            last = "\n  ".join(escape_line(f"{clip.path}: {clip.reason}") for clip in bad[-5:])
            raise DataError(
                f"{len(bad)} windows in a row could not be read; check that the files still exist. The last ones:\n  {last}"
            )
        if index not in self._replacements:
            self._replacements[index] = self._policy.replacements(self.samples[index])
        self._windows[index] = next(self._replacements[index])

    def batch(self) -> Batch:
        """The finished micro-batch."""
        assert self._frames is not None
        uniforms = torch.tensor([sample.uniforms[:UNIFORMS_PER_SAMPLE] for sample in self.samples])
        ids = torch.tensor([sample.id for sample in self.samples])
        bad = tuple(clip for clips in self._bad for clip in clips)
        actions, states = self._stacked_signals()
        pinned = uniforms.pin_memory() if self._pin else uniforms
        frames, planes = self._frames, None
        if self._places is not None:
            frames, planes = self._frames[:0], self._planar(self._frames)
        return Batch(frames, pinned, ids, 0, bad, actions, states, planes, self._through_container, self._stacked_masks())

    def _planar(self, data: Tensor) -> PlanarFrames:
        assert self._places is not None
        return PlanarFrames(
            data,
            begins=tuple(place.begin for place in self._places),
            layouts=tuple(self._layouts[index] for index in range(len(self.samples))),
            positions=tuple(sample.uniforms[-1] for sample in self.samples),
            frames=self._shape[1],
            size_px=(self._shape[2], self._shape[3]),
        )

    def _stacked_masks(self) -> BatchMasks | None:
        request = self.samples[0].masks
        if request is None:
            return None
        return stack_masks(request.rule, [self._masks[index] for index in range(len(self.samples))], self._pin)

    def _stacked_signals(self) -> tuple[Tensor | None, Tensor | None]:
        """Actions [B, T - 1, k * A] and states [B, T, S]; None where they are not read."""
        if not self._signals:
            return None, None
        found = [self._signals[index] for index in range(len(self.samples))]
        actions = torch.from_numpy(np.stack([signals.actions for signals in found])).flatten(2)
        return actions, torch.from_numpy(np.stack([signals.states for signals in found]))
