"""Latents of clips under a network: target latents, context latents and forecasts, as numpy arrays.

Steps are latent steps. A context is identified by its length in steps from the start of the
clip. Forecasts are direct as far as the model reaches; beyond that, predictions are fed back
(rollout).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eval.voe.surprise.forecasting import predict_windows
from eval.voe.surprise.windows import widest_plan
from worldmodel.models.world_model import FrameWise, WorldModel, window_frames

Latents = NDArray[np.float32]

MAX_INPUT_STEPS = 3  # latent steps that a probe reads at most; as many are stored from the end of each context
PIXEL_GRID = 12  # pictures are averaged to PIXEL_GRID x PIXEL_GRID cells


@dataclass(frozen=True)
class ClipLatents:
    """Latents of F clips with equal contexts."""

    target: Latents  # [F, S, N, D]
    context: Mapping[int, Latents]  # by context length: its last steps [F, up to MAX_INPUT_STEPS, N, D], encoded alone
    forecast: Mapping[int, Latents]  # by context length: forecasts of the K steps after it [F, K, N, D]

    def target_at(self, clip: NDArray[np.int64], step: NDArray[np.int64], input_steps: int) -> Latents:
        """Target latents of the steps up to and including `step`: [R], [R] ->
        [R, input_steps, N, D]."""
        return np.stack([self.target[clip, step - input_steps + 1 + i] for i in range(input_steps)], axis=1)

    def forecast_at(self, context: int, horizon: int, input_steps: int) -> Latents:
        """The last steps up to a horizon, of all clips: [F, input_steps, N, D].

        Steps within the context are as encoded.
        """
        both = np.concatenate([self.context[context], self.forecast[context]], axis=1)
        last = self.context[context].shape[1] + horizon
        return both[:, last - input_steps : last]

    def context_end(self, context: int, input_steps: int) -> Latents:
        """The context's last steps, the copy-last baseline for any horizon:
        [F, input_steps, N, D]."""
        return self.context[context][:, -input_steps:]


@torch.no_grad()
def encode_clips(model: WorldModel, frames: Tensor, forecast_steps: Mapping[int, int]) -> ClipLatents:
    """Encode clips and forecast from contexts.

    frames: uint8 [F, T, H, W, 3], T a multiple of the frames per latent. forecast_steps: by context
    length, the number of latent steps to forecast.
    """
    f = model.tubelet_size
    pixels = model.normalise(frames)
    target = torch.cat([model.encode(part) for part in pixels.split(window_frames(model), 1)], 1)
    context_latents, forecasts, plan = {}, {}, widest_plan(model)
    contexts = {
        window: context
        for context, steps in forecast_steps.items()
        if (window := plan.ending_at(context * f, (context + steps) * f, "sliding"))
    }
    for prediction in predict_windows(model, frames, list(contexts)):
        window, context = prediction.window, contexts[prediction.window]
        context_pixels, steps = pixels[:, window.start : window.cut], forecast_steps[context]
        parts = [prediction.forecasts["model"]]
        if steps > (direct := window.steps):
            parts.append(model.rollout(context_pixels, steps)[:, direct:])
        forecasts[context] = to_numpy(torch.cat(parts, 1))
        stored = min(MAX_INPUT_STEPS, window.context // f)
        encoded_alone = target[:, :context] if isinstance(model, FrameWise) else model.encode(context_pixels)
        context_latents[context] = to_numpy(encoded_alone[:, -stored:])
    return ClipLatents(to_numpy(target), context_latents, forecasts)


@torch.no_grad()
def pixel_latents(frames: Tensor, tubelet_size: int, contexts: Sequence[int]) -> ClipLatents:
    """Raw pixels instead of latents: each step's last picture, averaged to PIXEL_GRID x
    PIXEL_GRID cells of three colours. Without forecasts."""
    last = frames[:, tubelet_size - 1 :: tubelet_size]
    small = F.adaptive_avg_pool2d(last.flatten(0, 1).permute(0, 3, 1, 2).float() / 255, PIXEL_GRID)
    target = to_numpy(small.flatten(2).transpose(1, 2).unflatten(0, last.shape[:2]))
    return ClipLatents(target, {context: target[:, max(0, context - MAX_INPUT_STEPS) : context] for context in contexts}, {})


def concatenate(parts: Sequence[ClipLatents]) -> ClipLatents:
    """Join the clips of several parts, which must have equal contexts."""
    return ClipLatents(
        np.concatenate([part.target for part in parts]),
        {context: np.concatenate([part.context[context] for part in parts]) for context in parts[0].context},
        {context: np.concatenate([part.forecast[context] for part in parts]) for context in parts[0].forecast},
    )


def to_numpy(latents: Tensor) -> Latents:
    return latents.float().cpu().numpy()
