"""What a network makes of films: latents of what came, and forecasts of it from contexts. Kept as numpy, for probes.

Steps are latent steps. A cut is the number of steps that a context has seen. Forecasts are direct as far as the model
reaches and imagined (predictions fed back) beyond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eval.voe.surprise.forecasting import outlooks
from eval.voe.surprise.windows import widest
from worldmodel.models.world_model import FrameWise, WorldModel, window_frames

Latents = NDArray[np.float32]

MOMENTS = 3  # of a context that are kept beside its forecast: what a probe reads at most
PIXELS = 12  # a side that raw pixels are averaged to


@dataclass(frozen=True)
class Recording:
    """Of F films that were cut alike."""

    target: Latents  # [F, S, N, D] latents of what came
    seen: Mapping[int, Latents]  # by cut: the context's last moments [F, up to MOMENTS, N, D], encoded without what follows
    ahead: Mapping[int, Latents]  # by cut: forecasts of the steps after it [F, K, N, D]

    def at(self, film: NDArray[np.int64], step: NDArray[np.int64], moments: int) -> Latents:
        """Target latents up to a step: [R, moments, N, D]."""
        return np.stack([self.target[film, step - moments + 1 + m] for m in range(moments)], axis=1)

    def forecast(self, cut: int, horizon: int, moments: int) -> Latents:
        """What the model believes up to a horizon, of all films [F, moments, N, D]: what it saw, then what it forecast."""
        believed = np.concatenate([self.seen[cut], self.ahead[cut]], axis=1)
        last = self.seen[cut].shape[1] + horizon
        return believed[:, last - moments : last]

    def copy(self, cut: int, moments: int) -> Latents:
        """The context's last moments, for any horizon: [F, moments, N, D]."""
        return self.seen[cut][:, -moments:]


@torch.no_grad()
def record(model: WorldModel, frames: Tensor, reach: Mapping[int, int]) -> Recording:
    """Films uint8 [F, T, H, W, 3], T a multiple of f. `reach`: how many steps to forecast, by cut."""
    f = model.tubelet_size
    pixels = model.normalise(frames)
    target = torch.cat([model.encode(part) for part in pixels.split(window_frames(model), 1)], 1)
    seen, ahead, plan = {}, {}, widest(model)
    cuts = {w: cut for cut, steps in reach.items() if (w := plan.ending_at(cut * f, (cut + steps) * f, "free"))}
    for outlook in outlooks(model, frames, list(cuts)):
        cut = cuts[outlook.window]
        context, steps = pixels[:, outlook.window.start : outlook.window.cut], reach[cut]
        parts = [outlook.forecasts["model"]]
        if steps > (direct := outlook.window.steps):
            parts.append(model.imagine(context, steps)[:, direct:])
        ahead[cut] = numpy(torch.cat(parts, 1))
        there = min(MOMENTS, (outlook.window.context // f))
        alone = target[:, :cut] if isinstance(model, FrameWise) else model.encode(context)
        seen[cut] = numpy(alone[:, -there:])
    return Recording(numpy(target), seen, ahead)


@torch.no_grad()
def record_pixels(frames: Tensor, tubelet_size: int, cuts: Sequence[int]) -> Recording:
    """The same of raw pixels: each step's last picture, averaged to PIXELS x PIXELS places of three colours. No forecasts."""
    last = frames[:, tubelet_size - 1 :: tubelet_size]
    small = F.adaptive_avg_pool2d(last.flatten(0, 1).permute(0, 3, 1, 2).float() / 255, PIXELS)
    target = numpy(small.flatten(2).transpose(1, 2).unflatten(0, last.shape[:2]))
    return Recording(target, {cut: target[:, max(0, cut - MOMENTS) : cut] for cut in cuts}, {})


def join(parts: Sequence[Recording]) -> Recording:
    """Films of several recordings, one after another; they must have been cut alike."""
    return Recording(
        np.concatenate([part.target for part in parts]),
        {cut: np.concatenate([part.seen[cut] for part in parts]) for cut in parts[0].seen},
        {cut: np.concatenate([part.ahead[cut] for part in parts]) for cut in parts[0].ahead},
    )


def numpy(latents: Tensor) -> Latents:
    return latents.float().cpu().numpy()
