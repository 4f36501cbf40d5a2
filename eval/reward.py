"""Surprise of films that are tensors: a reward, or a penalty, for whatever makes films.

model, _ = load_model("runs/demo", "cuda")
found = surprise_of(model, films, fps=24)      # uint8 or float [B, T, H, W, 3]
reward = -found.surprise                       # [B]; but a film in which nothing moves is the easiest to foresee
reward = 0.5 - found.copy_share                # [B]; above 0 where forecasts beat copying, so that rest earns nothing
found.over_time, found.times_s                 # [B, S] and [S]: where in a film it is that surprises
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.plausibility.sliding_windows import copy_share, mean_surprise, time_course, usual_plan, watch
from eval.voe.surprise.whitening import Whitening
from eval.voe.surprise.windows import WindowPlan
from worldmodel.models.world_model import WorldModel, window_frames
from worldmodel.video.square import Square, cut_square


@dataclass(frozen=True)
class FilmSurprise:
    """Of B films, at the S moments that are judged; on the films' device, without gradient."""

    surprise: Tensor  # [B] mean over windows of the mean over steps
    copy_share: Tensor  # [B] surprise / (surprise + error of copying), 0 to 1; one half is no better than copying
    over_time: Tensor  # [B, S]
    times_s: Tensor  # [S] since the first frame


def surprise_of(
    model: WorldModel,
    films: Tensor,
    fps: float | None = None,
    plan: WindowPlan | None = None,
    whitening: Whitening | None = None,
    square: Square = "squeeze",
) -> FilmSurprise:
    """Films uint8, or float from 0 to 1, [B, T, H, W, 3] at `fps` frames a second (default: the model's rate), of any size.

    Surprise is by the model's own distance, or whitened where a fit is given (`Viewing.moments` of lawful clips makes one).
    Frames that are not square are squeezed, or the central square is cut out of them with square="crop".
    Films are judged in windows of all that the model can see, as by `python -m eval score`, unless a plan says otherwise.
    Raises EvalError for films that are too short, ValueError for tensors of another kind.
    """
    rate = plan.fps if plan is not None else model.fps
    frames = as_seen(films, fps or rate, rate, model.size_px, square)
    plan = plan or usual_plan(model, min(window_frames(model), frames.shape[1]))
    measure = model.distance if whitening is None else lambda forecast, target: whitening.surprise(forecast - target)
    watched = watch(model, frames, plan, {"": measure})
    surprise, copying = mean_surprise(watched.surprise[""]), mean_surprise(watched.copying[""])
    course = time_course(watched.surprise[""], plan, frames.shape[1])
    judged = watched.judged[0].nonzero()[0]

    def on_device(values: object) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=films.device)

    return FilmSurprise(
        on_device(surprise), on_device(copy_share(surprise, copying)), on_device(course[:, judged]), on_device(judged / rate)
    )


def as_seen(films: Tensor, fps: float, rate: float, size_px: int, square: Square = "squeeze") -> Tensor:
    """[B, T, H, W, 3] -> uint8 [B, T', size_px, size_px, 3] at another rate: the frames shown at the moments looked at,
    made square as `square` says. Raises ValueError."""
    if films.ndim != 5 or films.shape[-1] != 3 or not films.numel():
        raise ValueError(f"films are {list(films.shape)}; expected [B, T, H, W, 3]")
    if not (films.dtype == torch.uint8 or films.is_floating_point()):
        raise ValueError(f"films are {films.dtype}; expected uint8, or float from 0 to 1")
    if films.is_floating_point() and (films.min() < 0 or films.max() > 1):
        raise ValueError(f"films are float from {films.min():.3g} to {films.max():.3g}; expected 0 to 1")
    count = int((films.shape[1] - 1) / fps * rate + 1e-6) + 1
    shown = (torch.arange(count, dtype=torch.float64) / rate * fps + 1e-3).long()
    frames = films[:, shown.to(films.device)]
    if square == "crop":
        frames = cut_square(frames)
    if frames.shape[2:4] != (size_px, size_px):
        planes = frames.flatten(0, 1).movedim(-1, 1).float()
        shrinks = min(frames.shape[2:4]) >= size_px
        sized = F.interpolate(planes, (size_px, size_px), mode="area" if shrinks else "bilinear")
        frames = sized.movedim(1, -1).unflatten(0, frames.shape[:2])
        frames = frames if films.is_floating_point() else frames.round().to(torch.uint8)
    return frames if frames.dtype == torch.uint8 else (frames * 255).round().to(torch.uint8)
