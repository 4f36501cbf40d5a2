"""Surprise of videos given as tensors, as a reward or penalty for models that generate videos.

model, _ = load_model("runs/demo", "cuda")
found = surprise_of(model, videos, fps=24)      # uint8 or float [B, T, H, W, 3]
reward = -found.surprise                        # [B]; a video without motion gets the highest reward
reward = 0.5 - found.copy_relative_surprise     # [B]; positive where forecasts are better than the copy baseline
found.over_time, found.times_s                  # [B, S] and [S]: surprise over time
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eval.plausibility.sliding_windows import (
    copy_relative_surprise,
    default_plan,
    mean_surprise,
    time_course,
    window_surprise,
)
from eval.voe.surprise.whitening import Whitening
from eval.voe.surprise.windows import WindowPlan
from worldmodel.data.planar.convert import resized_rgb
from worldmodel.models.world_model import WorldModel, window_frames
from worldmodel.video.geometry import Geometry, crop
from worldmodel.video.resize import target_size
from worldmodel.video.selection import frame_count_at


@dataclass(frozen=True)
class VideoSurprise:
    """Surprise of B videos, on their device and without gradient. S is the number of times with a forecast."""

    surprise: Tensor  # [B] mean over windows of the mean over steps
    copy_relative_surprise: Tensor  # [B] surprise / (surprise + error of the copy baseline), 0 to 1; 0.5: no better than it
    over_time: Tensor  # [B, S]
    times_s: Tensor  # [S] since the first frame


def surprise_of(
    model: WorldModel,
    videos: Tensor,
    fps: float | None = None,
    plan: WindowPlan | None = None,
    whitening: Whitening | None = None,
    geometry: Geometry = "center_crop",
) -> VideoSurprise:
    """Surprise of videos uint8, or float from 0 to 1, [B, T, H, W, 3] of any size.

    fps: frame rate of the videos (default: that of the model).
    plan: windows (default: as long as the model can see, as in `python -m eval plausibility`).
    whitening: use whitened surprise instead of the latent distance (`BatchedInference.error_moments` gives the moments).
    geometry: how frames become square, see `worldmodel.video.geometry`.

    Raises EvalError for videos that are too short, and ValueError for tensors of another shape, type or range.
    """
    rate = plan.fps if plan is not None else model.fps
    frames = model_frames(videos, fps or rate, rate, model.size_px, geometry)
    plan = plan or default_plan(model, min(window_frames(model), frames.shape[1]))
    distance = model.distance if whitening is None else lambda forecast, target: whitening.surprise(forecast - target)
    by_window = window_surprise(model, frames, plan, {"": distance})
    surprise, copy_error = mean_surprise(by_window.surprise[""]), mean_surprise(by_window.copy_error[""])
    course = time_course(by_window.surprise[""], plan, frames.shape[1])
    times = by_window.window_counts[0].nonzero()[0]

    def on_device(values: object) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=videos.device)

    return VideoSurprise(
        surprise=on_device(surprise),
        copy_relative_surprise=on_device(copy_relative_surprise(surprise, copy_error)),
        over_time=on_device(course[:, times]),
        times_s=on_device(times / rate),
    )


def model_frames(videos: Tensor, fps: float, rate: float, size_px: int, geometry: Geometry = "center_crop") -> Tensor:
    """Convert videos to the frame rate and input size of a model: [B, T, H, W, 3] -> uint8 [B, T', size_px, size_px, 3].

    Each output frame is the input frame visible at its time, resized by the filters of the readers.
    Raises ValueError for tensors of another shape, type or range.
    """
    if videos.ndim != 5 or videos.shape[-1] != 3 or not videos.numel():
        raise ValueError(f"videos are {list(videos.shape)}; expected [B, T, H, W, 3]")
    if not (videos.dtype == torch.uint8 or videos.is_floating_point()):
        raise ValueError(f"videos are {videos.dtype}; expected uint8, or float from 0 to 1")
    if videos.is_floating_point() and (videos.min() < 0 or videos.max() > 1):
        raise ValueError(f"videos are float from {videos.min():.3g} to {videos.max():.3g}; expected 0 to 1")
    count = frame_count_at(videos.shape[1], fps, rate)
    visible = (torch.arange(count, dtype=torch.float64) / rate * fps + 1e-3).long()
    frames = videos[:, visible.to(videos.device)]
    height, width = frames.shape[2:4]
    size = target_size(height, width, size_px) if geometry == "center_crop" else (size_px, size_px)
    if size != (height, width):
        frames = resized_rgb(frames, size)
        frames = frames if videos.is_floating_point() else frames.round().to(torch.uint8)
    frames = crop(frames, (size_px, size_px))
    return frames if frames.dtype == torch.uint8 else (frames * 255).round().to(torch.uint8)
