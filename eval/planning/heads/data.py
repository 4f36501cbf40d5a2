"""Training data of behaviour cloning and inverse dynamics: every window that the model could be trained on.

A planned step may have several recorded actions. The model is trained on windows that begin at any
recorded frame, so the frames of an episode are read at every offset, not only at every N-th frame
from the first one. Memory is bounded: only features of frames are kept, at most MAX_FRAMES and
MAX_NUMBERS of them. Where a split has more, a random part of it is used, and its fraction is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.progress import bar
from eval.errors import EvalError
from eval.planning.action_model import ActionModel
from eval.planning.offline.recorded import OpenClip, encode_frames, open_clip
from worldmodel.manifest import Manifest
from worldmodel.planning import Trajectories
from worldmodel.planning.goal_head import features_of

MAX_FRAMES = 500_000
MAX_NUMBERS = 2**27  # of all features together: 512 MiB of float32
_ESTIMATED_FROM = 100  # episodes


@dataclass(frozen=True)
class HeadData:
    """Trajectories of a split, and which part of it they are. An episode has several: one for each offset of its frames."""

    trajectories: Trajectories
    fraction: float  # windows by all windows of the split


def read_head_data(
    model: ActionModel, manifest: Manifest, split: str, device: torch.device, seed: int = 0, size_px: int | None = None
) -> HeadData:
    """Encode the frames of all episodes of a split, at all offsets, as far as the limits of memory allow.

    Beyond the limits, sequences are chosen at random, from as many episodes as they allow. size_px: side of the squares that
    frames are read as; None: as they are in the file. Raises EvalError for episodes without signals, for actions of another
    size than the model's, and where no episode is long enough.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.asarray(manifest.rows(split), np.int64))
    if not len(rows):
        raise EvalError(f"{manifest.path} has no episode in split {split!r}")
    offsets = model.actions_per_step
    first = open_clip(model, manifest, int(rows[0]), size_px)
    numbers = _encoded(model, first, [0], device).shape[1]
    limit = max(2, min(MAX_FRAMES, MAX_NUMBERS // numbers))
    share = max(limit / _frames(manifest, rows, first), 1 / offsets)
    features, actions, lengths, episodes = [], [], [], []
    kept = windows = seen = 0
    with bar(f"encode {split} for cloning and inverse dynamics", len(rows)) as progress:
        for number, row in enumerate(rows.tolist()):
            clip = first if number == 0 else open_clip(model, manifest, row, size_px)
            sequences = [range(offset, len(clip.times_s), offsets) for offset in range(offsets)]
            sequences = [sequence for sequence in sequences if len(sequence) > 1]
            windows += sum(len(sequence) - 1 for sequence in sequences)
            seen += 1
            chosen = [sequence for sequence, drawn in zip(sequences, rng.random(len(sequences)), strict=True) if drawn < share]
            wanted = sorted({frame for sequence in chosen for frame in sequence})
            encoded = _encoded(model, clip, wanted, device)
            for sequence in chosen:
                features.append(encoded[np.searchsorted(wanted, sequence)])
                taken = torch.from_numpy(clip.actions_between([clip.times_s[frame] for frame in sequence])).float()
                actions.append(torch.cat([taken, torch.zeros_like(taken[:1])]))
                lengths.append(len(sequence))
                episodes.append(number)
                kept += len(sequence)
            progress.step()
            if kept >= limit:
                break
    if not lengths:
        raise EvalError(f"{manifest.path}: no episode in split {split!r} has two frames that are a planned step apart")
    # episodes that were not opened count as those that were, in the mean
    used = (sum(lengths) - len(lengths)) / (windows * len(rows) / seen)
    found = Trajectories(torch.cat(features), torch.cat(actions), np.array(lengths), np.array(episodes))
    return HeadData(found, min(1.0, used))


def _frames(manifest: Manifest, rows: NDArray[np.int64], first: OpenClip) -> float:
    """Frames of all episodes, estimated from the length of some."""
    clips = [manifest.clip(row) for row in rows[:_ESTIMATED_FROM].tolist()]
    return float(np.mean([(clip.stop_s - clip.start_s) / first.recorded_step_s + 1 for clip in clips])) * len(rows)


def _encoded(model: ActionModel, clip: OpenClip, wanted: list[int], device: torch.device) -> Tensor:
    """Features of frames by their numbers, [len(wanted), F], on the CPU."""
    times = [clip.times_s[frame] for frame in wanted]
    parts = [features_of(latents).cpu() for latents in encode_frames(model, clip, times, device)]
    return torch.cat(parts) if parts else torch.zeros(0, 0)
