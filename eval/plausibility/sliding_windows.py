"""Any film -> how surprised a model is, window by window and place by place, beside what copying would have been.

Windows slide, and each is judged at every context length of the plan, so that all windows of all films are alike: films
can be compared that nobody paired.
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
from eval.voe.surprise.forecasting import outlooks
from eval.voe.surprise.windows import WindowPlan, default_contexts
from worldmodel.files.atomic import write_arrays
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
Measure = Callable[[Tensor, Tensor], Tensor]  # forecast, target [B, steps, N, D] -> [B, steps, N]
STRIDE = 2  # frames, as the field has it; more where a latent has more


@dataclass(frozen=True)
class Watched:
    """What a model made of a film, or of films of equal length, which then come first in every shape.

    W windows, C context lengths, K latent steps, T frames, F frames a window, N places; NaN where nothing is judged.
    """

    surprise: dict[str, Values]  # by scorer [W, C, K], mean over places
    copying: dict[str, Values]  # the same of a forecast that repeats the last latent seen
    motion: Values  # [W, F - 1] root mean square step of a pixel from frame to frame, grey levels
    places: dict[str, Values]  # by scorer [T, N]: surprise at a frame, sum over the windows that judge it; empty if not asked
    judged: Values  # [T]: how many windows judge a frame

    def film(self, index: int) -> Watched:
        """One of several films."""

        def one(arrays: dict[str, Values]) -> dict[str, Values]:
            return {name: array[index] for name, array in arrays.items()}

        return Watched(one(self.surprise), one(self.copying), self.motion[index], one(self.places), self.judged[index])

    @property
    def frames(self) -> int:
        return self.judged.shape[-1]


@torch.no_grad()
def watch(
    model: WorldModel, frames: Tensor, plan: WindowPlan, measures: Mapping[str, Measure], by_place: bool = False
) -> Watched:
    """Films uint8 [B, T, H, W, 3] at the plan's rate and the model's size. Raises EvalError where they have no window."""
    films, length = frames.shape[:2]
    windows = plan.free(length)
    if not windows:
        raise EvalError(too_short(length, plan))
    starts = sorted({window.start for window in windows})
    empty = torch.full((films, len(starts), len(plan.contexts), plan.horizon), torch.nan, device=frames.device)
    found = {who: {name: empty.clone() for name in measures} for who in ("model", "latent copy")}
    places: dict[str, Tensor] = {}
    judged = torch.zeros(length)
    for outlook in outlooks(model, frames, windows, {"free": ("model", "latent copy")}):
        window = outlook.window
        row, column = starts.index(window.start), plan.contexts.index(window.context)
        moments = slice(window.cut, window.cut + window.steps * plan.tubelet_size, plan.tubelet_size)
        judged[moments] += 1
        for who, by_name in found.items():
            for name, values in by_name.items():
                each = measures[name](outlook.forecasts[who], outlook.target).float()
                values[:, row, column, : window.steps] = each.mean(-1)
                if by_place and who == "model":
                    total = places.setdefault(name, torch.zeros(films, length, each.shape[-1], device=each.device))
                    total[:, moments] += each
    span = min(plan.frames, length)
    steps = motion(frames)
    return Watched(
        _numpy(found["model"]),
        _numpy(found["latent copy"]),
        torch.stack([steps[:, start : start + span - 1] for start in starts], 1).cpu().numpy(),
        _numpy(places),
        judged.expand(films, -1).numpy(),
    )


def motion(frames: Tensor) -> Tensor:
    """uint8 [B, T, H, W, 3] -> [B, T - 1]: root mean square step of a pixel from frame to frame, in grey levels."""
    pixels = frames.flatten(2)
    now = range(1, pixels.shape[1])  # a frame at a time: all of them in float would be four times the film
    return torch.stack([(pixels[:, t].float() - pixels[:, t - 1].float()).square().mean(-1).sqrt() for t in now], 1)


def joined(parts: Sequence[Watched], plan: WindowPlan, windows_a_part: int) -> Watched:
    """Stretches of one film, each beginning `windows_a_part` windows after the one before."""
    first, step = parts[0], windows_a_part * plan.stride
    length = (len(parts) - 1) * step + parts[-1].frames

    def laid(arrays: Sequence[Values]) -> Values:
        total = np.zeros((length, *arrays[0].shape[1:]), arrays[0].dtype)
        for place, array in enumerate(arrays):
            total[place * step : place * step + len(array)] += array
        return total

    return Watched(
        {name: np.concatenate([part.surprise[name] for part in parts]) for name in first.surprise},
        {name: np.concatenate([part.copying[name] for part in parts]) for name in first.copying},
        np.concatenate([part.motion for part in parts]),
        {name: laid([part.places[name] for part in parts]) for name in first.places},
        laid([part.judged for part in parts]),
    )


def mean_surprise(values: Values) -> Values:
    """[..., W, C, K] -> [...]: mean over windows of the mean over steps; what judges nothing does not count."""
    steps = np.isfinite(values).sum(-1)
    with np.errstate(invalid="ignore"):
        by_window = np.where(steps > 0, np.nansum(values, -1) / np.maximum(steps, 1), 0.0)
        return by_window.sum((-2, -1)) / (steps > 0).sum((-2, -1))


def time_course(values: Values, plan: WindowPlan, length: int) -> Values:
    """[..., W, C, K] -> [..., T]: at each frame the mean over the windows that judge it, NaN where none does."""
    *lead, windows, _, steps = values.shape
    total, count = np.zeros((*lead, length)), np.zeros((*lead, length))
    for column, context in enumerate(plan.contexts):
        for step in range(steps):
            each = values[..., column, step]
            first = context + step * plan.tubelet_size
            frames = first + plan.stride * np.arange(windows)
            there = frames < length
            total[..., frames[there]] += np.nan_to_num(each[..., there])
            count[..., frames[there]] += np.isfinite(each[..., there])
    with np.errstate(invalid="ignore"):
        return total / count


def copy_share(surprise: Values, copying: Values) -> Values:
    """Surprise as a share of itself and the error of copying, 0 to 1: one half is no better than repeating what was seen
    last. Where neither is wrong at all, one half."""
    total = np.asarray(surprise, float) + copying
    return np.where(total > 0, surprise / np.where(total > 0, total, 1.0), 0.5)


def usual_plan(
    model: WorldModel,
    frames: int,
    fps: float | None = None,
    stride: int | None = None,
    contexts: Sequence[int] | None = None,
    horizon: int | None = None,
) -> WindowPlan:
    """How films are cut for a model: windows of so many frames, seen from a sixth to two thirds, forecast as far as the model
    reaches. Raises EvalError for a plan that the model cannot follow."""
    f, rate = model.tubelet_size, fps or model.fps
    seen = tuple(sorted(set(contexts or default_contexts(rate, frames, f, model.max_context))))
    span = model.max_span
    reach = min(model.max_steps, (min(frames, span or frames) - min(seen)) // f)
    plan = WindowPlan(rate, frames, stride or -(-STRIDE // f) * f, seen, horizon or max(1, reach), f, model.max_context, span)
    problems = plan.check()
    if not problems and plan.horizon > reach:
        problems.append(f"a horizon of {plan.horizon} latent steps is beyond the {reach} that are forecast within a window")
    if problems:
        raise EvalError("; ".join(problems))
    return plan


def too_short(length: int, plan: WindowPlan) -> str:
    seen = min(plan.contexts)
    return (
        f"{length} frames at {plan.fps:g} frames/s are too few: {seen + plan.tubelet_size} are needed, {seen} to see and "
        "a latent to forecast"
    )


def _numpy(tensors: Mapping[str, Tensor]) -> dict[str, Values]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def save_watched(path: Path, films: Sequence[Watched | str]) -> None:
    """Numbers and text alone (npz without pickles); a text is why a film could not be watched."""
    write_arrays(path, arrays_of(films))


def load_watched(path: Path) -> list[Watched | str]:
    """Raises EvalError that names the file where it is damaged."""
    return watched_of(load_arrays(path))


def arrays_of(films: Sequence[Watched | str]) -> dict[str, Values]:
    """Named arrays from which `watched_of` makes the same again."""
    arrays: dict[str, Values] = {}
    for index, film in enumerate(films):
        if isinstance(film, str):
            arrays[f"{index}/unread"] = np.array(film)
            continue
        for field in fields(film):
            value = getattr(film, field.name)
            named = value if isinstance(value, dict) else {"": value}
            arrays |= {f"{index}/{field.name}/{name}": array for name, array in named.items()}
    return arrays


def watched_of(arrays: Mapping[str, Values]) -> list[Watched | str]:
    found: dict[int, dict[str, dict[str, Values]]] = {}
    for key, array in arrays.items():
        index, field, name = (*key.split("/", 2), "")[:3]
        found.setdefault(int(index), {}).setdefault(field, {})[name] = array
    return [_watched(found[index]) for index in sorted(found)]


def _watched(arrays: Mapping[str, Mapping[str, Values]]) -> Watched | str:
    if "unread" in arrays:
        return str(arrays["unread"][""])
    named = {name: dict(arrays.get(name, {})) for name in ("surprise", "copying", "places")}
    return Watched(**named, motion=arrays["motion"][""], judged=arrays["judged"][""])
