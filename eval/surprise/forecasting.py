"""Forecasts from contexts, and what came: the one place where evaluation asks a model. It asks for `encode` and `forecast`.

A forecast sees the context's frames and nothing else. A target is encoded once for all context lengths of a window. Where
latents depend on their own frames alone (`FrameWise`), all windows of a film share them, and all contexts that begin at
one frame are forecast in one pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from eval.surprise.windows import Kind, Window
from worldmodel.models.world_model import FrameWise, WorldModel

Scope = Literal["window", "suffix"]
"""What a target has seen, in models that look at a window as a whole: all of it, or what comes after the context alone."""


@dataclass(frozen=True)
class Outlook:
    """One window of a batch of films."""

    window: Window
    forecasts: dict[str, Tensor]  # by forecaster, each [B, steps, N, D]; the model's own is "model"
    target: Tensor  # [B, steps, N, D]


ABLATED = ("shuffled context", "masked context")
COPIES = ("latent copy", "latent extrapolation")
FORECASTERS = ("model", *COPIES, *ABLATED)
"""model: the forecast. latent copy: the last latent seen, again. latent extrapolation: on in a straight line from the last
two. shuffled context: the model, its context in another order. masked context: the model, shown the context's end alone."""
Asked = Mapping[Kind, Sequence[str]]
"""Forecasters by kind of window."""
EVERYWHERE: Asked = {"locked": FORECASTERS, "free": FORECASTERS}
WHERE_LOCKED: Asked = {"locked": FORECASTERS, "free": ("model", *COPIES)}
"""A model whose context is tampered with costs twice as much as the model: it is asked where the headline is."""
MODEL_ALONE: Asked = {"locked": ("model",), "free": ("model",)}
BOTH_EVERYWHERE: Asked = dict.fromkeys(("locked", "free"), ("model", "masked context"))
WITH_AND_WITHOUT_MEMORY: Asked = {"locked": ("model", "masked context"), "free": ("model",)}


@torch.no_grad()
def outlooks(
    model: WorldModel,
    frames: Tensor,
    windows: Sequence[Window],
    asked: Asked = MODEL_ALONE,
    scope: Scope = "window",
) -> Iterator[Outlook]:
    """Each window of films uint8 [B, T, H, W, 3]; a window that several kinds share is asked for once."""
    pixels = model.normalise(frames)
    if isinstance(model, FrameWise):
        yield from _shared(model, pixels, windows, asked)
    else:
        yield from _apart(model, pixels, windows, asked, scope)


def _shared(model: WorldModel, pixels: Tensor, windows: Sequence[Window], asked: Asked) -> Iterator[Outlook]:
    assert isinstance(model, FrameWise)
    f = model.frames_per_latent
    by_phase: dict[int, dict[int, list[Window]]] = defaultdict(lambda: defaultdict(list))
    for window in windows:
        by_phase[window.start % f][window.start].append(window)
    for phase, by_start in by_phase.items():
        whole = (pixels.shape[1] - phase) // f * f
        context, target = model.observe(pixels[:, phase : phase + whole])
        for start, group in by_start.items():
            first = (start - phase) // f
            steps = max(window.steps for window in group)
            made: dict[tuple[str, int], Tensor] = {}  # by forecaster and latent steps seen
            for name in FORECASTERS:
                if seen := sorted({window.context // f for window in group if name in asked[window.kind]}):
                    latents = context[:, first : first + seen[-1]]
                    made |= {(name, count): each for count, each in _made(name, model, latents, seen, steps)}
            for window in group:
                count = window.context // f
                cut = first + count
                forecasts = {name: made[name, count][:, : window.steps] for name in asked[window.kind] if (name, count) in made}
                forecasts |= _continued(target[:, max(first, cut - 2) : cut], window.steps, asked[window.kind])
                yield Outlook(window, forecasts, target[:, cut : cut + window.steps])


def _made(name: str, model: FrameWise, latents: Tensor, seen: Sequence[int], steps: int) -> Iterator[tuple[int, Tensor]]:
    """What a forecaster that asks the model says after each number of steps seen: [B, T, N, D] -> [B, steps, N, D] each."""
    if name == "model":
        yield from zip(seen, model.forecast_after(latents, seen, steps).unbind(1), strict=True)
    elif name == "shuffled context":
        for count in seen:
            yield count, model.forecast_after(latents[:, _order(count)], [count], steps)[:, 0]
    elif name == "masked context":
        lasts = latents[:, [count - 1 for count in seen]]
        alone = model.forecast_after(lasts.flatten(0, 1)[:, None], [1], steps)
        yield from zip(seen, alone.view(*lasts.shape[:2], *alone.shape[2:]).unbind(1), strict=True)


def _apart(model: WorldModel, pixels: Tensor, windows: Sequence[Window], asked: Asked, scope: Scope) -> Iterator[Outlook]:
    f, whole = model.frames_per_latent, {}
    for window in windows:
        forecasters = asked[window.kind]
        stop = window.cut + window.steps * f
        if scope == "suffix":
            target = model.encode(pixels[:, window.cut : stop])
        else:  # windows that begin and end alike share a target, whatever of them is seen
            if (window.start, stop) not in whole:
                whole = {(window.start, stop): model.encode(pixels[:, window.start : stop])}
            target = whole[window.start, stop][:, window.context // f :]
        context = pixels[:, window.start : window.cut]
        forecasts = {}
        if "model" in forecasters:
            forecasts["model"] = model.forecast(context, window.steps)
        if "shuffled context" in forecasters:
            order = [f * step + frame for step in _order(window.context // f) for frame in range(f)]
            forecasts["shuffled context"] = model.forecast(context[:, order], window.steps)
        if "masked context" in forecasters:
            forecasts["masked context"] = model.forecast(context[:, -f:], window.steps)
        if set(COPIES) & set(forecasters):  # from the context encoded alone: a copy must not know the future either
            forecasts |= _continued(model.encode(context)[:, -2:], window.steps, forecasters)
        yield Outlook(window, forecasts, target)


def _continued(last: Tensor, steps: int, forecasters: Sequence[str]) -> dict[str, Tensor]:
    """Copy and straight line from the last two latents [B, 1 or 2, N, D]."""
    there = last[:, -1:].expand(-1, steps, -1, -1)
    ahead = torch.arange(1, steps + 1, device=last.device, dtype=last.dtype)[:, None, None]
    continued = {"latent copy": there, "latent extrapolation": there + ahead * (last[:, -1:] - last[:, :1])}
    return {name: forecast for name, forecast in continued.items() if name in forecasters}


def _order(count: int) -> list[int]:
    """A fixed order of so many moments that is not theirs, the last one staying last."""
    shuffled = torch.randperm(count - 1, generator=torch.Generator().manual_seed(count)).tolist() if count > 1 else []
    return [*shuffled, count - 1]
