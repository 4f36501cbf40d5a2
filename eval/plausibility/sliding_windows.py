"""Surprise of a model in every sliding window of a video, and the error of the copy baseline.

Every window is evaluated at every context length of the plan. All windows of all videos are therefore alike, and videos
that were not made as pairs can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.errors import EvalError
from eval.npz_files import load_arrays
from eval.voe.surprise.forecasting import predict_windows
from eval.voe.surprise.windows import WindowPlan, default_contexts
from worldmodel.files.atomic import write_arrays
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
Distance = Callable[[Tensor, Tensor], Tensor]
"""(forecast, target), each [B, steps, N, D] -> surprise [B, steps, N]."""
STRIDE_FRAMES = 2  # as published evaluations use it; larger where one latent covers more frames
MODEL, COPY = "model", "latent copy"  # the forecasters that are evaluated


@dataclass(frozen=True)
class WindowSurprise:
    """Surprise of one video in each window; or of a batch of equally long videos, with the batch as the first axis.

    W windows, C context lengths, K latent steps, T frames, F frames per window, N tokens. NaN where nothing is forecast.
    """

    surprise: dict[str, Values]  # by scorer [W, C, K], mean over tokens
    copy_error: dict[str, Values]  # the same for a forecast that repeats the last latent of the context
    motion: Values  # [W, F - 1] root mean square change of a pixel between successive frames, in grey levels
    token_surprise: dict[str, Values]  # by scorer [T, N], sum over the windows that forecast a frame; empty if not requested
    window_counts: Values  # [T] number of windows that forecast a frame

    def video(self, index: int) -> WindowSurprise:
        """One video of a batch."""

        def one(arrays: dict[str, Values]) -> dict[str, Values]:
            return {name: array[index] for name, array in arrays.items()}

        return WindowSurprise(
            surprise=one(self.surprise),
            copy_error=one(self.copy_error),
            motion=self.motion[index],
            token_surprise=one(self.token_surprise),
            window_counts=self.window_counts[index],
        )

    @property
    def frames(self) -> int:
        return self.window_counts.shape[-1]


@torch.no_grad()
def window_surprise(
    model: WorldModel, frames: Tensor, plan: WindowPlan, distances: Mapping[str, Distance], by_token: bool = False
) -> WindowSurprise:
    """Surprise of videos uint8 [B, T, H, W, 3], given at the frame rate of the plan and the input size of the model.

    distances: by scorer. by_token: also keep the surprise of each token. Raises EvalError for videos shorter than a window.
    """
    videos, length = frames.shape[:2]
    windows = plan.sliding(length)
    if not windows:
        raise EvalError(too_short_message(length, plan))
    starts = sorted({window.start for window in windows})
    empty = torch.full((videos, len(starts), len(plan.contexts), plan.horizon), torch.nan, device=frames.device)
    errors = {forecaster: {name: empty.clone() for name in distances} for forecaster in (MODEL, COPY)}
    token_surprise: dict[str, Tensor] = {}
    window_counts = torch.zeros(length)
    for prediction in predict_windows(model, frames, windows, {"sliding": (MODEL, COPY)}):
        window = prediction.window
        row, column = starts.index(window.start), plan.contexts.index(window.context)
        times = slice(window.cut, window.cut + window.steps * plan.tubelet_size, plan.tubelet_size)
        window_counts[times] += 1
        for forecaster, by_scorer in errors.items():
            for name, values in by_scorer.items():
                each = distances[name](prediction.forecasts[forecaster], prediction.target).float()
                values[:, row, column, : window.steps] = each.mean(-1)
                if by_token and forecaster == MODEL:
                    total = token_surprise.setdefault(name, torch.zeros(videos, length, each.shape[-1], device=each.device))
                    total[:, times] += each
    span = min(plan.frames, length)
    changes = frame_changes(frames)
    return WindowSurprise(
        surprise=_numpy(errors[MODEL]),
        copy_error=_numpy(errors[COPY]),
        motion=torch.stack([changes[:, start : start + span - 1] for start in starts], 1).cpu().numpy(),
        token_surprise=_numpy(token_surprise),
        window_counts=window_counts.expand(videos, -1).numpy(),
    )


def frame_changes(frames: Tensor) -> Tensor:
    """Root mean square change of a pixel between successive frames, in grey levels: uint8 [B, T, H, W, 3] -> [B, T - 1]."""
    pixels = frames.flatten(2)
    later = range(1, pixels.shape[1])  # one frame at a time: all of them as float would need four times the memory
    return torch.stack([(pixels[:, t].float() - pixels[:, t - 1].float()).square().mean(-1).sqrt() for t in later], 1)


def join_segments(segments: Sequence[WindowSurprise], plan: WindowPlan, windows_per_segment: int) -> WindowSurprise:
    """Join segments of one video. Each segment begins `windows_per_segment` windows after the one before."""
    first, step = segments[0], windows_per_segment * plan.stride
    length = (len(segments) - 1) * step + segments[-1].frames

    def overlapped(arrays: Sequence[Values]) -> Values:
        total = np.zeros((length, *arrays[0].shape[1:]), arrays[0].dtype)
        for index, array in enumerate(arrays):
            total[index * step : index * step + len(array)] += array
        return total

    return WindowSurprise(
        surprise={name: np.concatenate([it.surprise[name] for it in segments]) for name in first.surprise},
        copy_error={name: np.concatenate([it.copy_error[name] for it in segments]) for name in first.copy_error},
        motion=np.concatenate([it.motion for it in segments]),
        token_surprise={name: overlapped([it.token_surprise[name] for it in segments]) for name in first.token_surprise},
        window_counts=overlapped([it.window_counts for it in segments]),
    )


def mean_surprise(values: Values) -> Values:
    """Mean over windows of the mean over steps, without NaN: [..., W, C, K] -> [...]."""
    steps = np.isfinite(values).sum(-1)
    with np.errstate(invalid="ignore"):
        by_window = np.where(steps > 0, np.nansum(values, -1) / np.maximum(steps, 1), 0.0)
        return by_window.sum((-2, -1)) / (steps > 0).sum((-2, -1))


def time_course(values: Values, plan: WindowPlan, length: int) -> Values:
    """Mean over the windows that forecast a frame; NaN where none does: [..., W, C, K] -> [..., T]."""
    *lead, windows, _, steps = values.shape
    total, count = np.zeros((*lead, length)), np.zeros((*lead, length))
    for column, context in enumerate(plan.contexts):
        for step in range(steps):
            each = values[..., column, step]
            first = context + step * plan.tubelet_size
            frames = first + plan.stride * np.arange(windows)
            exists = frames < length
            total[..., frames[exists]] += np.nan_to_num(each[..., exists])
            count[..., frames[exists]] += np.isfinite(each[..., exists])
    with np.errstate(invalid="ignore"):
        return total / count


def copy_relative_surprise(surprise: Values, copy_error: Values) -> Values:
    """surprise / (surprise + copy error), from 0 to 1. Where both are 0, one half.

    Below one half, the forecast is better than the copy baseline, which repeats the last latent of the context.
    """
    total = np.asarray(surprise, float) + copy_error
    return np.where(total > 0, surprise / np.where(total > 0, total, 1.0), 0.5)


def default_plan(
    model: WorldModel,
    frames: int,
    fps: float | None = None,
    stride: int | None = None,
    contexts: Sequence[int] | None = None,
    horizon: int | None = None,
) -> WindowPlan:
    """Sliding windows of `frames` frames for a model.

    By default, contexts are a sixth to two thirds of a window, and the horizon is as long as the model can forecast within
    a window. Raises EvalError for a plan that the model cannot follow.
    """
    f, rate = model.tubelet_size, fps or model.fps
    lengths = tuple(sorted(set(contexts or default_contexts(rate, frames, f, model.max_context))))
    span = model.max_span
    reach = min(model.max_horizon, (min(frames, span or frames) - min(lengths)) // f)
    stride = stride or -(-STRIDE_FRAMES // f) * f
    plan = WindowPlan(rate, frames, stride, lengths, horizon or max(1, reach), f, model.max_context, span)
    problems = plan.problems()
    if not problems and plan.horizon > reach:
        problems.append(f"a horizon of {plan.horizon} latent steps is longer than the {reach} that fit into a window")
    if problems:
        raise EvalError("; ".join(problems))
    return plan


def too_short_message(length: int, plan: WindowPlan) -> str:
    context = min(plan.contexts)
    return (
        f"the video has {length} frames at {plan.fps:g} frames/s; at least {context + plan.tubelet_size} are needed: "
        f"{context} of context and {plan.tubelet_size} to forecast"
    )


def _numpy(tensors: Mapping[str, Tensor]) -> dict[str, Values]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def save_surprise(path: Path, videos: Sequence[WindowSurprise | str]) -> None:
    """Save results as .npz without pickles. A text is the reason why a video could not be evaluated."""
    write_arrays(path, to_arrays(videos))


def load_surprise(path: Path) -> list[WindowSurprise | str]:
    """Load what `save_surprise` saved. Raises EvalError that names a damaged file."""
    return from_arrays(load_arrays(path))


def to_arrays(videos: Sequence[WindowSurprise | str]) -> dict[str, Values]:
    """Named arrays, the inverse of `from_arrays`."""
    arrays: dict[str, Values] = {}
    for index, video in enumerate(videos):
        if isinstance(video, str):
            arrays[f"{index}/reason"] = np.array(video)
            continue
        for field in fields(video):
            value = getattr(video, field.name)
            named = value if isinstance(value, dict) else {"": value}
            arrays |= {f"{index}/{field.name}/{name}": array for name, array in named.items()}
    return arrays


def from_arrays(arrays: Mapping[str, Values]) -> list[WindowSurprise | str]:
    found: dict[int, dict[str, dict[str, Values]]] = {}
    for key, array in arrays.items():
        index, field, name = (*key.split("/", 2), "")[:3]
        found.setdefault(int(index), {}).setdefault(field, {})[name] = array
    return [_window_surprise(found[index]) for index in sorted(found)]


def _window_surprise(arrays: Mapping[str, Mapping[str, Values]]) -> WindowSurprise | str:
    if "reason" in arrays:
        return str(arrays["reason"][""])
    named = {name: dict(arrays.get(name, {})) for name in ("surprise", "copy_error", "token_surprise")}
    return WindowSurprise(**named, motion=arrays["motion"][""], window_counts=arrays["window_counts"][""])
