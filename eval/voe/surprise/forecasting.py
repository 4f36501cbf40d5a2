"""Forecasts from contexts, and what came: the one place where evaluation asks a model. It asks for `encode` and `forecast`.

A forecast sees the context's frames and nothing else. A target is encoded once for all context lengths of a window. Where
latents depend on their own frames alone (`FrameWise`), all windows of a film share them, and all contexts that begin at
one frame are forecast in one pass. Films that are spliced of the same frames share what these say, too: a quadruplet is two
beginnings and two ends, of which each film shows one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.voe.surprise.windows import Kind, Window
from worldmodel.models.world_model import FrameWise, WorldModel

Same = NDArray[np.int64]
"""Numbers of frames or latents [B, T]: those with equal numbers are equal."""
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


def digests(film: NDArray[np.uint8]) -> list[bytes]:
    """Of what each frame of a film [T, H, W, 3] shows."""
    return [blake2b(frame.tobytes(), digest_size=16).digest() for frame in film]


def same_frames(films: Sequence[Sequence[bytes]]) -> Same:
    """Of films of equal length, by the digests of their frames."""
    numbers: dict[bytes, int] = {}
    return np.array([[numbers.setdefault(digest, len(numbers)) for digest in film] for film in films])


@torch.no_grad()
def outlooks(
    model: WorldModel,
    frames: Tensor,
    windows: Sequence[Window],
    asked: Asked = MODEL_ALONE,
    scope: Scope = "window",
    same: Same | None = None,
) -> Iterator[Outlook]:
    """Each window of films uint8 [B, T, H, W, 3]; a window that several kinds share is asked for once.

    `same`: which frames are known to be equal (default: none).
    """
    if same is None:
        same = np.arange(frames.shape[0] * frames.shape[1]).reshape(frames.shape[:2])
    if isinstance(model, FrameWise):
        yield from _shared(model, frames, windows, asked, same)
    else:
        yield from _apart(model, model.normalise(frames), windows, asked, scope, same)


def different_tubelets(frames: Tensor, same: Same, f: int) -> tuple[Tensor, Same]:
    """Films [B, S*f, H, W, 3] -> tubelets of f frames that differ [U, f, H, W, 3], and which stands where [B, S]."""
    first, which = _different(same.reshape(-1, f))
    return frames.unflatten(1, (-1, f)).flatten(0, 1)[first], which.reshape(len(frames), -1)


def _different(same: Same) -> tuple[Same, Same]:
    """[B, L] -> rows that differ from one another, and for each row [B] which of these it equals."""
    _, first, which = np.unique(same, axis=0, return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def _once(same: Same, ask: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
    """ask(given) [B, ...], of which rows that are equal (see `same` [B, L]) are asked once."""
    first, which = _different(same)
    return ask(given) if len(first) == len(which) else ask(given[first])[which]


def _shared(model: WorldModel, frames: Tensor, windows: Sequence[Window], asked: Asked, same: Same) -> Iterator[Outlook]:
    assert isinstance(model, FrameWise)
    f = model.tubelet_size
    by_phase: dict[int, dict[int, list[Window]]] = defaultdict(lambda: defaultdict(list))
    for window in windows:
        by_phase[window.start % f][window.start].append(window)
    for phase, by_start in by_phase.items():
        whole = (frames.shape[1] - phase) // f * f
        tubelets, which = different_tubelets(frames[:, phase : phase + whole], same[:, phase : phase + whole], f)
        context, target = (latents[:, 0] for latents in model.observe(model.normalise(tubelets)))
        for start, group in by_start.items():
            first = (start - phase) // f
            steps = max(window.steps for window in group)
            made: dict[tuple[str, int], Tensor] = {}  # by forecaster and latent steps seen
            for name in FORECASTERS:
                if seen := sorted({window.context // f for window in group if name in asked[window.kind]}):
                    there = which[:, first : first + seen[-1]]
                    made |= {(name, count): each for count, each in _made(name, model, context[there], there, seen, steps)}
            for window in group:
                count = window.context // f
                cut = first + count
                forecasts = {name: made[name, count][:, : window.steps] for name in asked[window.kind] if (name, count) in made}
                forecasts |= _continued(target[which[:, max(first, cut - 2) : cut]], window.steps, asked[window.kind])
                yield Outlook(window, forecasts, target[which[:, cut : cut + window.steps]])


def _made(
    name: str, model: FrameWise, latents: Tensor, same: Same, seen: Sequence[int], steps: int
) -> Iterator[tuple[int, Tensor]]:
    """What a forecaster that asks the model says after each number of steps seen: [B, T, N, D] -> [B, steps, N, D] each."""
    if name == "model":
        yield from zip(seen, _once(same, partial(model.forecast_after, seen=seen, steps=steps), latents).unbind(1), strict=True)
    elif name == "shuffled context":
        for count in seen:
            shuffled = latents[:, _order(count)]
            yield count, _once(same[:, :count], partial(model.forecast_after, seen=[count], steps=steps), shuffled)[:, 0]
    elif name == "masked context":
        ends = [count - 1 for count in seen]
        lasts = latents[:, ends].flatten(0, 1)[:, None]
        alone = _once(same[:, ends].reshape(-1, 1), partial(model.forecast_after, seen=[1], steps=steps), lasts)
        yield from zip(seen, alone.unflatten(0, (-1, len(seen)))[:, :, 0].unbind(1), strict=True)


def _apart(
    model: WorldModel, pixels: Tensor, windows: Sequence[Window], asked: Asked, scope: Scope, same: Same
) -> Iterator[Outlook]:
    f, whole = model.tubelet_size, {}

    def encode(start: int, stop: int) -> Tensor:
        return _once(same[:, start:stop], model.encode, pixels[:, start:stop])

    for window in windows:
        forecasters = asked[window.kind]
        stop = window.cut + window.steps * f
        if scope == "suffix":
            target = encode(window.cut, stop)
        else:  # windows that begin and end alike share a target, whatever of them is seen
            if (window.start, stop) not in whole:
                whole = {(window.start, stop): encode(window.start, stop)}
            target = whole[window.start, stop][:, window.context // f :]
        context, alike = pixels[:, window.start : window.cut], same[:, window.start : window.cut]
        forecast, forecasts = partial(model.forecast, steps=window.steps), {}
        if "model" in forecasters:
            forecasts["model"] = _once(alike, forecast, context)
        if "shuffled context" in forecasters:
            order = [f * step + frame for step in _order(window.context // f) for frame in range(f)]
            forecasts["shuffled context"] = _once(alike, forecast, context[:, order])
        if "masked context" in forecasters:
            forecasts["masked context"] = _once(alike[:, -f:], forecast, context[:, -f:])
        if set(COPIES) & set(forecasters):  # from the context encoded alone: a copy must not know the future either
            forecasts |= _continued(encode(window.start, window.cut)[:, -2:], window.steps, forecasters)
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
