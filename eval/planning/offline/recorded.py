"""Recorded episodes as a model sees them: latents of all frames, actions between them, and states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.errors import EvalError
from eval.planning.action_model import ActionModel
from worldmodel.manifest import Manifest
from worldmodel.signals import SignalError, action_blocks, read_signals, states_at
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


@torch.no_grad()
def _read(model: ActionModel, manifest: Manifest, row: int, device: torch.device, keep_frames: bool) -> Recorded:
    clip = manifest.clip(row)
    if clip.signals is None:
        raise EvalError(f"{manifest.path}: {clip.path} has no signals; record episodes with `data_prep collect`")
    try:
        signals = read_signals(clip.signals)
        step_s = signals.step_s * model.actions_per_step
        count = max(1, int((clip.stop_s - clip.start_s - _MARGIN_S) / step_s) + 1)
        times = [clip.start_s + number * step_s for number in range(count)]
        times = [time for time in times if time <= signals.time_s[-1] + _MARGIN_S]
        blocks = (
            action_blocks(signals, times, model.actions_per_step)
            if len(times) > 1
            else np.zeros((0, 1, signals.actions.shape[1]))
        )
        states = states_at(signals, times)
    except SignalError as error:
        raise EvalError(str(error)) from None
    actions = blocks.reshape(len(blocks), -1)
    if len(blocks) and actions.shape[1] != model.action_size:
        raise EvalError(
            f"{clip.path}: {actions.shape[1]} numbers of actions between two frames, and the checkpoint was trained with "
            f"{model.action_size}; give the data that it was trained on, or of the same kind"
        )
    size = inside(clip.rectangle, None)
    frames = read_frames(clip.path, times_s=times, size=size, member=clip.member, folder_fps=clip.fps, timing=clip.timing)
    latents = [model.encode(torch.from_numpy(part)[:, None].to(device))[:, -1] for part in _parts(frames)]
    return Recorded(
        clip.clip_id,
        torch.cat(latents).cpu(),
        torch.from_numpy(actions).float(),
        states,
        frames if keep_frames else None,
    )


def _parts(frames: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(frames[first : first + _ENCODED_AT_ONCE]) for first in range(0, len(frames), _ENCODED_AT_ONCE)]
