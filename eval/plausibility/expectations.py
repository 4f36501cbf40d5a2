"""What did a model expect instead? Its forecasts of a film's moments, drawn by the decoder of its run, beside what came.

A moment is judged by several windows, from several contexts. What is drawn is the forecast of the one whose lead is in
the middle, so that films show neither what was foreseen at once nor only what was foreseen from afar.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.plausibility.batches import Stretch, Viewing, frames_at, read_stretch
from eval.subject import Subject
from eval.voe.surprise.forecasting import outlooks
from eval.voe.surprise.windows import Window, WindowPlan
from worldmodel.manifest import Clip
from worldmodel.models.decoder import Decoder
from worldmodel.rollouts.decoder_fitting import load_decoder

AT_ONCE = 32  # latent steps that are drawn together
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Expectations:
    """M moments of a film, as a decoder draws them. Frames count at the plan's rate; a latent is `f` of them."""

    moments: NDArray[np.int64]  # [M] first frames of what is drawn, ascending
    seen: NDArray[np.int64]  # [M, 2] half-open: what each was forecast from
    expected: Frames  # [M, f, S, S, 3]
    came: Frames  # [M, f, S, S, 3] the latents of what came, by the same decoder

    def at(self, frame: int) -> tuple[int, int] | None:
        """(place of the moment, frame of its latent) that shows a frame of the film; None where nothing was forecast."""
        place = int(np.searchsorted(self.moments, frame, side="right")) - 1
        offset = frame - int(self.moments[place]) if place >= 0 else -1
        return (place, offset) if 0 <= offset < self.expected.shape[1] else None


@torch.no_grad()
def expectations(viewing: Viewing, decoder: Decoder, clip: Clip, first: int, stop: int) -> Expectations | None:
    """Of the frames [first, stop) of a clip, at the plan's rate; None where they cannot be read or nothing is judged."""
    plan, f = viewing.plan, viewing.model.tubelet_size
    views = middle_views(plan, frames_at(clip, plan.fps), first, stop)
    if not views:
        return None
    begin = min(window.start for window, _ in views.values())
    end = max(window.cut + window.steps * f for window, _ in views.values())
    frames = read_stretch(Stretch(clip, begin, end - begin), plan.fps, viewing.model.size_px, viewing.square)
    if isinstance(frames, str):
        return None
    wanted: dict[Window, list[tuple[int, int]]] = defaultdict(list)
    for moment, (window, step) in views.items():
        wanted[replace(window, start=window.start - begin)].append((moment, step))
    forecasts, targets = {}, {}
    for outlook in outlooks(viewing.model, torch.from_numpy(frames)[None].to(viewing.device), list(wanted)):
        for moment, step in wanted[outlook.window]:
            forecasts[moment] = outlook.forecasts["model"][0, step]
            targets[moment] = outlook.target[0, step]
    moments = sorted(views)
    expected, came = (_draw(decoder, torch.stack([by[moment] for moment in moments])) for by in (forecasts, targets))
    seen = [(views[moment][0].start, views[moment][0].cut) for moment in moments]
    return Expectations(np.array(moments), np.array(seen), expected, came)


def decoder_of(subject: Subject, device: torch.device) -> Decoder | None:
    """The decoder of a run, where it has one. Raises CheckpointError where it does not fit."""
    if subject.checkpoint is None or subject.recipe is None or subject.model is None:
        return None
    return load_decoder(subject.checkpoint, subject.model, subject.recipe, device)


def no_decoder(subject: Subject) -> str:
    """Why a page does not show what was expected."""
    way = "" if subject.checkpoint is None else f"; `python -m worldmodel.rollout {subject.spec}` trains one"
    return f"What {subject.name} expected instead is not shown: it has no decoder to draw it{way}."


def middle_views(plan: WindowPlan, length: int, first: int, stop: int) -> Mapping[int, tuple[Window, int]]:
    """By judged frame in [first, stop) of a film of `length` frames: the window and step of the middle lead, of equal leads the
    one that saw the most."""
    judging: dict[int, list[tuple[int, int, Window, int]]] = defaultdict(list)
    for window in plan.free(length):
        for step in range(window.steps):
            lead = step * plan.tubelet_size
            if first <= window.cut + lead < stop:
                judging[window.cut + lead].append((lead, -window.context, window, step))
    found = {}
    for moment, views in judging.items():
        leads = sorted(lead for lead, *_ in views)
        middle = leads[len(leads) // 2]
        _, _, window, step = min((view for view in views if view[0] == middle), key=lambda view: view[:2])
        found[moment] = (window, step)
    return found


def _draw(decoder: Decoder, latents: Tensor) -> Frames:
    """[M, N, D] -> uint8 [M, f, S, S, 3]."""
    drawn = [decoder(some[:, None]).mul(255).round().byte().permute(0, 1, 3, 4, 2).cpu() for some in latents.split(AT_ONCE)]
    return torch.cat(drawn).numpy()
