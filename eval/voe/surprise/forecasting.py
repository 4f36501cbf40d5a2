"""Forecasts of a model and of latent baselines in every window of a batch of videos.

This is the only module of the evaluation that runs a world model in windows. It calls `encode` and
`forecast`. A forecast sees the frames of its context and nothing else. A target is encoded once for
all context lengths of a window. Where latents depend on their own frames alone (`FrameWise`), all
windows of a video share them, and all contexts that begin at one frame are forecast in one pass.
Equal frames of spliced videos are encoded once: the four videos of a quadruplet consist of two
contexts and two outcomes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.voe.scorers import CONTEXT_ABLATIONS, LATENT_BASELINES, MODEL
from eval.voe.surprise.windows import Window, WindowKind
from worldmodel.models.world_model import FrameWise, SharedContext, WorldModel

FrameIds = NDArray[np.int64]
"""Numbers of frames or latents [B, T], in the order of their digests. Equal numbers mean equal frames."""
Scope = Literal["window", "suffix"]
"""What a target sees in models that encode a window as a whole: the whole window, or only what
comes after the context.
"""


@dataclass(frozen=True)
class WindowPrediction:
    """Forecasts and target of one window of the videos that have it."""

    window: Window
    videos: list[int]  # [B] their indices in the batch
    forecasts: dict[str, Tensor]  # by forecaster, each [B, steps, N, D]
    target: Tensor  # [B, steps, N, D]


FORECASTERS = (MODEL, *LATENT_BASELINES, *CONTEXT_ABLATIONS)
"""model: the model's forecast. latent copy: the last context latent, repeated. latent
extrapolation: a straight line through the last two context latents. shuffled context: the model,
with the latent steps of its context in an order that depends on their content alone (`shuffled_steps`).
masked context: the model, with the end of its context alone.
"""
ForecastersByKind = Mapping[WindowKind, Sequence[str]]
ALL_FORECASTERS: ForecastersByKind = {"locked": FORECASTERS, "sliding": FORECASTERS}
ABLATIONS_IN_LOCKED: ForecastersByKind = {"locked": FORECASTERS, "sliding": (MODEL, *LATENT_BASELINES)}
"""Context ablations cost twice as much as the model alone, so they run only in locked windows,
which give the headline.
"""
MODEL_ONLY: ForecastersByKind = {"locked": (MODEL,), "sliding": (MODEL,)}
MODEL_AND_MASKED: ForecastersByKind = {"locked": (MODEL, "masked context"), "sliding": (MODEL, "masked context")}
MASKED_IN_LOCKED: ForecastersByKind = {"locked": (MODEL, "masked context"), "sliding": (MODEL,)}


def frame_digests(video: NDArray[np.uint8]) -> list[bytes]:
    """A digest of each frame of a video [T, H, W, 3]."""
    return [blake2b(frame.tobytes(), digest_size=16).digest() for frame in video]


def frame_ids(videos: Sequence[Sequence[bytes]]) -> FrameIds:
    """Frame ids [B, T] of videos of equal length, from the digests of their frames."""
    numbers = {digest: number for number, digest in enumerate(sorted({digest for video in videos for digest in video}))}
    return np.array([[numbers[digest] for digest in video] for video in videos])


MAX_SHARED_COST = 0.9  # contexts are divided into two parts where that computes at most this fraction of their steps


@torch.no_grad()
def predict_windows(
    model: WorldModel,
    frames: Tensor,
    windows: Sequence[Window],
    forecasters: ForecastersByKind = MODEL_ONLY,
    scope: Scope = "window",
    ids: FrameIds | None = None,
    members: Mapping[Window, list[int]] | None = None,
) -> Iterator[WindowPrediction]:
    """Forecast each window of videos uint8 [B, T, H, W, 3].

    ids: which frames are equal (default: computed from the frames). members: the videos that have a
    window, by index (default: all).
    """
    if members is None:
        members = {window: list(range(len(frames))) for window in windows}
    if ids is None:
        ids = frame_ids([frame_digests(video) for video in frames.cpu().numpy()])
    if isinstance(model, FrameWise):
        yield from _predict_frame_wise(model, frames, windows, forecasters, ids, members)
    else:
        yield from _predict_per_window(model, model.normalise(frames), windows, forecasters, scope, ids, members)


def unique_tubelets(frames: Tensor, ids: FrameIds, f: int) -> tuple[Tensor, FrameIds]:
    """Distinct tubelets of f frames, and the tubelet at each step.

    [B, S*f, H, W, 3] -> [U, f, H, W, 3], [B, S].
    """
    first, index = _unique_rows(ids.reshape(-1, f))
    return frames.unflatten(1, (-1, f)).flatten(0, 1)[first], index.reshape(len(frames), -1)


def shuffled_steps(ids: FrameIds) -> FrameIds:
    """Ids [B, T] of the latent steps of contexts, sorted. The last step stays last.

    Ids are in the order of digests, so the order is arbitrary but depends on the content of the steps
    alone. Two contexts that consist of the same steps and end with the same one become equal, so that
    no question is answered by the order of the context. A fixed permutation is not enough: it leaves
    late steps after early ones more or less often than not.
    """
    return np.concatenate([np.sort(ids[:, :-1], axis=1), ids[:, -1:]], axis=1)


def _unique_rows(ids: FrameIds, users: Collection[int] | None = None) -> tuple[FrameIds, FrameIds]:
    """[B, L] -> indices of distinct rows, and for each row [B] the distinct row that it equals.

    users: the rows that count (default: all); for the others, the second result is 0.
    """
    used = np.arange(len(ids)) if users is None else np.array(sorted(users))
    _, first, inverse = np.unique(ids[used], axis=0, return_index=True, return_inverse=True)
    index = np.zeros(len(ids), np.int64)
    index[used] = inverse.reshape(-1)
    return used[first], index


def _apply_to_unique(ids: FrameIds, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """function(batch) [B, ...], computed once for rows with equal ids [B, L]."""
    first, index = _unique_rows(ids)
    return function(batch) if len(first) == len(index) else function(batch[first])[index]


def _predict_frame_wise(
    model: WorldModel,
    frames: Tensor,
    windows: Sequence[Window],
    forecasters: ForecastersByKind,
    ids: FrameIds,
    members: Mapping[Window, list[int]],
) -> Iterator[WindowPrediction]:
    assert isinstance(model, FrameWise)
    f = model.tubelet_size
    by_phase: dict[int, dict[int, list[Window]]] = defaultdict(lambda: defaultdict(list))
    for window in windows:
        by_phase[window.start % f][window.start].append(window)
    for phase, by_start in by_phase.items():
        whole = (frames.shape[1] - phase) // f * f
        tubelets, index = unique_tubelets(frames[:, phase : phase + whole], ids[:, phase : phase + whole], f)
        context, target = (latents[:, 0] for latents in model.encode_context_and_target(model.normalise(tubelets)))
        for start, group in by_start.items():
            first = (start - phase) // f
            steps = max(window.steps for window in group)
            made: dict[tuple[str, int], Tensor] = {}  # by forecaster and latent steps of the context
            for name in FORECASTERS:
                users: dict[int, set[int]] = defaultdict(set)  # videos by latent steps of the context
                for window in group:
                    if name in forecasters[window.kind]:
                        users[window.context // f].update(members[window])
                if users:
                    context_ids = index[:, first : first + max(users)]
                    pairs = _model_forecasts(name, model, context, context_ids, users, steps)
                    made |= {(name, count): forecast for count, forecast in pairs}
            for window in group:
                count, rows = window.context // f, members[window]
                cut, names = first + count, forecasters[window.kind]
                forecasts = {name: made[name, count][rows, : window.steps] for name in names if (name, count) in made}
                forecasts |= _latent_baselines(target[index[rows, max(first, cut - 2) : cut]], window.steps, names)
                yield WindowPrediction(window, rows, forecasts, target[index[rows, cut : cut + window.steps]])


def _model_forecasts(
    name: str, model: FrameWise, latents: Tensor, ids: FrameIds, users: Mapping[int, set[int]], steps: int
) -> Iterator[tuple[int, Tensor]]:
    """Forecasts of a forecaster that runs the model, one per number of context steps in `users`.

    latents: distinct latents [U, N, D]. ids: which of them each video has at each step [B, T]. users:
    the videos that need a forecast, by number of context steps. Yields (number of context steps,
    forecast [B, steps, N, D]); rows of videos that need none are undefined.
    """
    counts = sorted(users)
    if name == MODEL:
        first, index = _unique_rows(ids, set().union(*users.values()))
        forecasts = _forecast_contexts(model, latents, ids[first], counts, steps)
        yield from zip(counts, forecasts[index].unbind(1), strict=True)
    elif name == "shuffled context":
        for count in counts:
            shuffled = shuffled_steps(ids[:, :count])
            first, index = _unique_rows(shuffled, users[count])
            yield count, model.forecast_from_latents(latents[shuffled[first]], [count], steps)[index, 0]
    elif name == "masked context":
        ends = [count - 1 for count in counts]
        first, index = _unique_rows(ids[:, ends].reshape(-1, 1))
        alone = model.forecast_from_latents(latents[ids[:, ends].reshape(-1, 1)[first]], [1], steps)[index, 0]
        yield from zip(counts, alone.unflatten(0, (-1, len(counts))).unbind(1), strict=True)


def _forecast_contexts(model: FrameWise, latents: Tensor, ids: FrameIds, counts: Sequence[int], steps: int) -> Tensor:
    """Forecast from the first c steps of distinct contexts, for each c in `counts` (ascending).

    latents [U, N, D], ids [B, T] -> [B, len(counts), steps, N, D]. Beginnings that many contexts have in
    common are computed once.
    """
    length = ids.shape[1]
    cost = {length: length * len(ids)}  # latent steps to compute, by length of the common beginning
    for shared in range(1, length):
        cost[shared] = shared * len(_unique_rows(ids[:, :shared])[0]) + (length - shared) * len(ids)
    best = min(cost, key=lambda shared: cost[shared])
    if cost[best] > MAX_SHARED_COST * cost[length]:
        return model.forecast_from_latents(latents[ids], counts, steps)
    first, row = _unique_rows(ids[:, :best])
    common = SharedContext(latents[ids[first, :best]], torch.from_numpy(row).to(latents.device))
    return model.forecast_from_latents(latents[ids[:, best:]], counts, steps, common)


def _predict_per_window(
    model: WorldModel,
    pixels: Tensor,
    windows: Sequence[Window],
    forecasters: ForecastersByKind,
    scope: Scope,
    ids: FrameIds,
    members: Mapping[Window, list[int]],
) -> Iterator[WindowPrediction]:
    f = model.tubelet_size
    whole: dict[tuple[int, int], Tensor] = {}  # the last whole window that was encoded

    def encode(start: int, stop: int) -> Tensor:
        return _apply_to_unique(ids[:, start:stop], model.encode, pixels[:, start:stop])

    for window in windows:
        names = forecasters[window.kind]
        stop = window.cut + window.steps * f
        if scope == "suffix":
            target = encode(window.cut, stop)
        else:  # windows with equal start and stop have one target for all context lengths
            if (window.start, stop) not in whole:
                whole = {(window.start, stop): encode(window.start, stop)}
            target = whole[window.start, stop][:, window.context // f :]
        context, context_ids = pixels[:, window.start : window.cut], ids[:, window.start : window.cut]
        forecast, forecasts = partial(model.forecast, steps=window.steps), {}
        if MODEL in names:
            forecasts[MODEL] = _apply_to_unique(context_ids, forecast, context)
        if "shuffled context" in names:
            tubelets, index = unique_tubelets(context, context_ids, f)
            shuffled = shuffled_steps(index)
            forecasts["shuffled context"] = _apply_to_unique(shuffled, forecast, tubelets[shuffled].flatten(1, 2))
        if "masked context" in names:
            forecasts["masked context"] = _apply_to_unique(context_ids[:, -f:], forecast, context[:, -f:])
        if set(LATENT_BASELINES) & set(names):  # the context is encoded alone, so that a copy does not see the future
            forecasts |= _latent_baselines(encode(window.start, window.cut)[:, -2:], window.steps, names)
        rows = members[window]
        of_members = {name: forecast[rows] for name, forecast in forecasts.items()}
        yield WindowPrediction(window, rows, of_members, target[rows])


def _latent_baselines(last: Tensor, steps: int, names: Sequence[str]) -> dict[str, Tensor]:
    """Copy and straight line from the last one or two context latents [B, 1 or 2, N, D]."""
    copies = last[:, -1:].expand(-1, steps, -1, -1)
    ahead = torch.arange(1, steps + 1, device=last.device, dtype=last.dtype)[:, None, None]
    found = {"latent copy": copies, "latent extrapolation": copies + ahead * (last[:, -1:] - last[:, :1])}
    return {name: forecast for name, forecast in found.items() if name in names}
