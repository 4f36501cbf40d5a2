"""Recorded episodes as a model sees them: latents of all frames, actions between them, and states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.errors import EvalError
from eval.planning.action_model import ActionModel
from worldmodel.manifest import Clip, Manifest
from worldmodel.signals import SignalError, Signals, action_blocks, read_signals, states_at
from worldmodel.video import read_frames
from worldmodel.video.resize import inside

_ENCODED_AT_ONCE = 64  # frames
_MARGIN_S = 1e-6


@dataclass(frozen=True)
class Recorded:
    """One episode: T latent steps, T - 1 planned steps between them."""

    clip_id: str
    latents: torch.Tensor  # [T, N, D]
    actions: torch.Tensor  # [T - 1, action_size], raw
    states: NDArray[np.float64]  # [T, S]
    frames: NDArray[np.uint8] | None  # [T, H, W, 3] where they were asked for


def read_recorded(
    model: ActionModel,
    manifest: Manifest,
    split: str,
    most: int,
    device: torch.device,
    seed: int = 0,
    keep_frames: bool = False,
) -> list[Recorded]:
    """Encode at most `most` episodes of a split, chosen by the seed.

    Raises EvalError for episodes without signals, and for actions of another size than the model's.
    """
    rows = np.random.default_rng(seed).permutation(np.asarray(manifest.rows(split), np.int64))[:most]
    if not len(rows):
        raise EvalError(f"{manifest.path} has no episode in split {split!r}")
    found = []
    with bar(f"encode {split}", len(rows)) as progress:
        for row in rows.tolist():
            found.append(_read(model, manifest, row, device, keep_frames))
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

    def frames(self, times_s: Sequence[float]) -> NDArray[np.uint8]:
        """uint8 [T, H, W, 3]"""
        clip, size = self.clip, inside(self.clip.rectangle, None)
        return read_frames(clip.path, times_s=times_s, size=size, member=clip.member, folder_fps=clip.fps, timing=clip.timing)


def open_clip(model: ActionModel, manifest: Manifest, row: int) -> OpenClip:
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
    return OpenClip(clip, signals, times, model.actions_per_step, model.action_size)


@torch.no_grad()
def encode_frames(model: ActionModel, frames: NDArray[np.uint8], device: torch.device) -> Iterator[torch.Tensor]:
    """Latents of frames, each by itself: uint8 [T, H, W, 3] -> [t, N, D], in parts of which the t add up to T."""
    for first in range(0, len(frames), _ENCODED_AT_ONCE):
        part = np.ascontiguousarray(frames[first : first + _ENCODED_AT_ONCE])
        yield model.encode(torch.from_numpy(part)[:, None].to(device))[:, -1]


def _read(model: ActionModel, manifest: Manifest, row: int, device: torch.device, keep_frames: bool) -> Recorded:
    opened = open_clip(model, manifest, row)
    times = opened.times_s[:: model.actions_per_step]
    actions = opened.actions_between(times)
    try:
        states = states_at(opened.signals, times)
    except SignalError as error:
        raise EvalError(str(error)) from None
    frames = opened.frames(times)
    return Recorded(
        opened.clip.clip_id,
        torch.cat(list(encode_frames(model, frames, device))).cpu(),
        torch.from_numpy(actions).float(),
        states,
        frames if keep_frames else None,
    )
