"""Forecasts of a model and the ground truth, both drawn by the decoder of its run.

Several windows forecast the same time step from different contexts. The forecast with the median lead is drawn, so that
videos show neither only short-range nor only long-range forecasts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.plausibility.batches import BatchedInference, Segment, read_segment
from eval.subject import Subject
from eval.voe.surprise.forecasting import predict_windows
from eval.voe.surprise.windows import Window, WindowPlan
from worldmodel.manifest import Clip
from worldmodel.models.decoder import Decoder
from worldmodel.rollouts.decoder_fitting import load_decoder

LATENTS_AT_ONCE = 32  # drawn in one call of the decoder
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class DecodedForecasts:
    """Decoded latents of M time steps of a video. Frames count at the rate of the plan; a latent covers f frames."""

    times: NDArray[np.int64]  # [M] first frame of each latent, ascending
    contexts: NDArray[np.int64]  # [M, 2] half-open range of the frames that each was forecast from
    forecast: Frames  # [M, f, S, S, 3]
    ground_truth: Frames  # [M, f, S, S, 3]

    def at(self, frame: int) -> tuple[int, int] | None:
        """(time step, frame of its latent) that shows a frame of the video; None where nothing was forecast."""
        step = int(np.searchsorted(self.times, frame, side="right")) - 1
        offset = frame - int(self.times[step]) if step >= 0 else -1
        return (step, offset) if 0 <= offset < self.forecast.shape[1] else None


@torch.no_grad()
def decode_forecasts(
    inference: BatchedInference, decoder: Decoder, clip: Clip, first: int, stop: int
) -> DecodedForecasts | None:
    """Decode the forecasts of frames [first, stop) of a clip; None if the clip cannot be read or nothing is forecast."""
    plan, f = inference.plan, inference.model.tubelet_size
    chosen = median_lead_windows(plan, clip.frames_at(plan.fps), first, stop)
    if not chosen:
        return None
    begin = min(window.start for window, _ in chosen.values())
    end = max(window.cut + window.steps * f for window, _ in chosen.values())
    frames = read_segment(Segment(clip, begin, end - begin), plan.fps, inference.model.size_px, inference.geometry)
    if isinstance(frames, str):
        return None
    wanted: dict[Window, list[tuple[int, int]]] = defaultdict(list)
    for time, (window, step) in chosen.items():
        wanted[replace(window, start=window.start - begin)].append((time, step))
    forecasts, targets = {}, {}
    for prediction in predict_windows(inference.model, torch.from_numpy(frames)[None].to(inference.device), list(wanted)):
        for time, step in wanted[prediction.window]:
            forecasts[time] = prediction.forecasts["model"][0, step]
            targets[time] = prediction.target[0, step]
    times = sorted(chosen)
    forecast, ground_truth = (
        _decode(decoder, torch.stack([latents[time] for time in times])) for latents in (forecasts, targets)
    )
    contexts = [(chosen[time][0].start, chosen[time][0].cut) for time in times]
    return DecodedForecasts(np.array(times), np.array(contexts), forecast, ground_truth)


def run_decoder(subject: Subject, device: torch.device) -> Decoder | None:
    """The decoder of a run; None if there is none. Raises CheckpointError if it does not fit the model."""
    if subject.checkpoint is None or subject.recipe is None or subject.model is None:
        return None
    return load_decoder(subject.checkpoint, subject.model, subject.recipe, device)


def no_decoder_note(subject: Subject) -> str:
    """Why a page shows no decoded forecasts."""
    remedy = "" if subject.checkpoint is None else f"; `python -m worldmodel.rollout {subject.spec}` trains one"
    return f"Decoded forecasts are not shown: {subject.name} has no decoder{remedy}."


def median_lead_windows(plan: WindowPlan, length: int, first: int, stop: int) -> Mapping[int, tuple[Window, int]]:
    """Choose a window for each forecast frame in [first, stop) of a video of `length` frames.

    Returns (window, latent step) by frame: the one with the median lead and, of several, the one with the longest context.
    """
    candidates: dict[int, list[tuple[int, int, Window, int]]] = defaultdict(list)
    for window in plan.sliding(length):
        for step in range(window.steps):
            lead = step * plan.tubelet_size
            if first <= window.cut + lead < stop:
                candidates[window.cut + lead].append((lead, -window.context, window, step))
    found = {}
    for time, options in candidates.items():
        leads = sorted(lead for lead, *_ in options)
        median = leads[len(leads) // 2]
        _, _, window, step = min((option for option in options if option[0] == median), key=lambda option: option[:2])
        found[time] = (window, step)
    return found


def _decode(decoder: Decoder, latents: Tensor) -> Frames:
    """[M, N, D] -> uint8 [M, f, S, S, 3]."""
    decoded = [
        decoder(some[:, None]).mul(255).round().byte().permute(0, 1, 3, 4, 2).cpu() for some in latents.split(LATENTS_AT_ONCE)
    ]
    return torch.cat(decoded).numpy()
