"""Recorded episodes as a model sees them: latents of all frames, actions between them, and states.

Frames are read in pieces, and are not kept: what needs some of them later reads these again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.errors import EvalError
from eval.planning.action_model import ActionModel
from worldmodel.manifest import Clip, Manifest
from worldmodel.signals import SignalError, Signals, action_blocks, read_signals, states_at
from worldmodel.video import read_frames
from worldmodel.video.geometry import read_square_frames
from worldmodel.video.resize import inside

Frames = NDArray[np.uint8]
_ENCODED_AT_ONCE = 64  # frames
_READ_BYTES = 64 << 20  # of the frames that are in memory at once; at least _ENCODED_AT_ONCE of them
_MARGIN_S = 1e-6


@dataclass(frozen=True)
class Recorded:
    """One episode: T latent steps, T - 1 planned steps between them."""

    clip_id: str
    latents: torch.Tensor  # [T, N, D]
    actions: torch.Tensor  # [T - 1, action_size], raw
    states: NDArray[np.float64]  # [T, S]
    frames: Callable[[Sequence[int]], Frames] | None  # reads frames by latent step, [t, H, W, 3]; where that was asked for


def read_recorded(
    model: ActionModel,
    manifest: Manifest,
    split: str,
    most: int,
    device: torch.device,
    seed: int = 0,
    keep_frames: bool = False,
    size_px: int | None = None,
) -> list[Recorded]:
    """Encode at most `most` episodes of a split, chosen by the seed.

    keep_frames: their frames can be read later. size_px: side of the squares that frames are read as, as in training; None: as
    they are in the file. Raises EvalError for episodes without signals, and for actions of another size than the model's.
    """
    rows = np.random.default_rng(seed).permutation(np.asarray(manifest.rows(split), np.int64))[:most]
    if not len(rows):
        raise EvalError(f"{manifest.path} has no episode in split {split!r}")
    found = []
    with bar(f"encode {split}", len(rows)) as progress:
        for row in rows.tolist():
            found.append(_read(model, manifest, row, device, keep_frames, size_px))
            progress.step()
    return [episode for episode in found if len(episode.actions) > 1]


@dataclass(frozen=True)
class OpenClip:
    """An episode of a manifest with its signals, as a model with a given action size reads it."""

    clip: Clip
    signals: Signals
    times_s: list[float]  # of all frames that are a recorded step apart
    actions_per_step: int
    action_size: int
    size_px: int | None = None  # side of the squares that frames are read as; None: as they are in the file

    @property
    def recorded_step_s(self) -> float:
        return self.signals.step_s

    def actions_between(self, times_s: Sequence[float]) -> NDArray[np.float64]:
        """All actions between frames that are a planned step apart, [T - 1, action_size]. Raises EvalError."""
        if len(times_s) < 2:
            return np.zeros((0, self.action_size))
        try:
            blocks = action_blocks(self.signals, times_s, self.actions_per_step)
        except SignalError as error:
            raise EvalError(str(error)) from None
        actions = blocks.reshape(len(blocks), -1)
        if actions.shape[1] != self.action_size:
            raise EvalError(
                f"{self.clip.path}: {actions.shape[1]} numbers of actions between two frames, and the checkpoint was trained "
                f"with {self.action_size}; give the data that it was trained on, or of the same kind"
            )
        return actions

    def frames(self, times_s: Sequence[float]) -> Frames:
        """uint8 [T, H, W, 3]; with `size_px` by the function that training reads frames with."""
        clip = self.clip
        how: dict[str, Any] = {"member": clip.member, "folder_fps": clip.fps, "timing": clip.timing, "times_s": times_s}
        if self.size_px is None:
            return read_frames(clip.path, size=inside(clip.rectangle, None), **how)
        return read_square_frames(clip.path, self.size_px, "center_crop", rectangle=clip.rectangle, **how)

    @property
    def read_at_once(self) -> int:
        """Frames that may be in memory at once: a multiple of _ENCODED_AT_ONCE."""
        height, width = (self.clip.height, self.clip.width) if self.size_px is None else (self.size_px, self.size_px)
        return _ENCODED_AT_ONCE * max(1, _READ_BYTES // (_ENCODED_AT_ONCE * height * width * 3))


def open_clip(model: ActionModel, manifest: Manifest, row: int, size_px: int | None = None) -> OpenClip:
    """Open a row of a manifest. Raises EvalError for an episode without signals."""
    clip = manifest.clip(row)
    if clip.signals is None:
        raise EvalError(f"{manifest.path}: {clip.path} has no signals; record episodes with `data_prep collect`")
    try:
        signals = read_signals(clip.signals)
    except SignalError as error:
        raise EvalError(str(error)) from None
    count = max(1, int((clip.stop_s - clip.start_s - _MARGIN_S) / signals.step_s) + 1)
    times = [clip.start_s + number * signals.step_s for number in range(count)]
    times = [time for time in times if time <= signals.time_s[-1] + _MARGIN_S]
    return OpenClip(clip, signals, times, model.actions_per_step, model.action_size, size_px)


@torch.no_grad()
def encode_frames(model: ActionModel, clip: OpenClip, times_s: Sequence[float], device: torch.device) -> Iterator[torch.Tensor]:
    """Latents of the frames at T times, each by itself: [t, N, D], in parts of which the t add up to T."""
    for first in range(0, len(times_s), clip.read_at_once):
        frames = clip.frames(times_s[first : first + clip.read_at_once])
        for begin in range(0, len(frames), _ENCODED_AT_ONCE):
            part = np.ascontiguousarray(frames[begin : begin + _ENCODED_AT_ONCE])
            yield model.encode(torch.from_numpy(part)[:, None].to(device))[:, -1]


def _read(
    model: ActionModel, manifest: Manifest, row: int, device: torch.device, keep_frames: bool, size_px: int | None
) -> Recorded:
    opened = open_clip(model, manifest, row, size_px)
    times = opened.times_s[:: model.actions_per_step]
    actions = opened.actions_between(times)
    try:
        states = states_at(opened.signals, times)
    except SignalError as error:
        raise EvalError(str(error)) from None
    return Recorded(
        opened.clip.clip_id,
        torch.cat([latents.cpu() for latents in encode_frames(model, opened, times, device)]),
        torch.from_numpy(actions).float(),
        states,
        (lambda steps: opened.frames([times[step] for step in steps])) if keep_frames else None,
    )
