"""Samples and the micro-batches made of them; what happens when a window of one cannot be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from worldmodel.data.augment import DRAWS
from worldmodel.data.order import Draw
from worldmodel.data.reading import ReadFailure, ReadRequest
from worldmodel.data.windows import Window
from worldmodel.video.container.source import on_one_line, shown_name


class DataError(RuntimeError):
    """Training data could not be had; says what was tried and what to do."""


@dataclass(frozen=True)
class BadClip:
    """A window that could not be read: its file (`shard.tar::clip.mp4` for a tar member), and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """A window and how it is shown. `draw` leads to the windows that replace it where it cannot be read."""

    id: int
    draw: Draw
    window: Window
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


@dataclass(frozen=True)
class Replacing:
    """What to do about a window that cannot be read."""

    substitutes: Callable[[Sample], Iterator[Window]]  # the windows to try instead, in order, without end
    waits_for: Callable[[str], bool]  # whether so much data lies below a missing folder that it must come back
    most: int  # substitutes of one sample, see `most_substitutes`


def most_substitutes(max_failed_fraction: float) -> int:
    """How many substitutes of a sample are tried: so many that, at the allowed share of bad clips, one always reads.

    At most 1 sample in 10^12 finds none. 100 at least, since a small dataset may exceed the share; 1,000 at most, so that a
    dataset in which nothing can be read is told soon, whatever the share.
    """
    if max_failed_fraction <= 0:
        return 100
    return (
        1000 if max_failed_fraction >= 0.98 else min(1000, max(100, math.ceil(math.log(1e-12) / math.log(max_failed_fraction))))
    )


class PendingBatch:
    """A micro-batch while its frames are read. The reader fills `room(place)` and reports each place by `read` or `failed`."""

    def __init__(self, number: int, samples: Sequence[Sample], replacing: Replacing, pin: bool = False) -> None:
        self.number, self.samples = number, samples
        self.left = dict.fromkeys(range(len(samples)))  # places still to read, in order
        self.vanished: ReadFailure | None = None  # storage that is gone: the batch waits for it
        self._replacing = replacing
        self._windows = [sample.window for sample in samples]
        self._others: dict[int, Iterator[Window]] = {}
        self._bad: list[list[BadClip]] = [[] for _ in samples]
        self._frames = torch.empty(len(samples), *self.request(0).shape, dtype=torch.uint8, pin_memory=pin)
        self._bytes = self._frames.numpy().reshape(len(samples), -1)
        self._pin = pin

    def request(self, place: int) -> ReadRequest:
        sample, window = self.samples[place], self._windows[place]
        return ReadRequest(
            window.path, window.member, window.times_s, window.indices, window.timing, window.file_fps,
            sample.decode_px, sample.draws[-1], sample.backend,
        )  # fmt: skip

    def requests(self) -> tuple[tuple[int, ReadRequest], ...]:
        """All that is still to read."""
        return tuple((place, self.request(place)) for place in tuple(self.left))

    def room(self, place: int) -> memoryview:
        """Where the frames of a sample go."""
        return memoryview(self._bytes[place])

    def read(self, place: int) -> None:
        self.vanished = None
        del self.left[place]

    def failed(self, place: int, failure: ReadFailure) -> None:
        """Replace a bad clip, or note that storage is gone. Raises DataError where neither helps."""
        path = shown_name(self._windows[place].path, self._windows[place].member)
        if failure.kind == "machine":
            raise DataError(
                f"{failure.reason} (while {on_one_line(path)} was read). This is a limit of this machine, not a damaged clip. "
                "Free that resource or raise the limit (`ulimit -n` for open files); the same command resumes from the last "
                "checkpoint"
            )
        if failure.kind == "storage" or (failure.kind == "folder" and self._replacing.waits_for(failure.folder)):
            self.vanished = failure
            return
        self.vanished = None
        bad = self._bad[place]
        bad.append(BadClip(path, failure.reason))
        if len(bad) > self._replacing.most:
            last = "\n  ".join(on_one_line(f"{clip.path}: {clip.reason}") for clip in bad[-5:])
            raise DataError(
                f"{len(bad)} windows in a row could not be read; are the files still there? The last ones:\n  {last}"
            )
        if place not in self._others:
            self._others[place] = self._replacing.substitutes(self.samples[place])
        self._windows[place] = next(self._others[place])

    def batch(self) -> Batch:
        """The finished micro-batch."""
        draws = torch.tensor([sample.draws[:DRAWS] for sample in self.samples])
        ids = torch.tensor([sample.id for sample in self.samples])
        bad = tuple(clip for clips in self._bad for clip in clips)
        return Batch(self._frames, draws.pin_memory() if self._pin else draws, ids, bad=bad)
