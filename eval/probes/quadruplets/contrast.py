"""Contrast probes of quadruplets: do latents and forecasts distinguish the two contexts and the two
outcomes?

The two possible videos of a quadruplet, (a, u) and (b, v), are enough: they contain both contexts
and both outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from eval.probes.clips import read_clips
from eval.probes.dataset import MODEL, PIXELS
from eval.probes.evaluation import copy_of, forecast_of
from eval.probes.fitting.linear import LinearProbe
from eval.probes.latents import ClipLatents, encode_clips, pixel_latents
from eval.probes.quadruplets.object_maps import contrast, maps_of_clip, side
from eval.voe.pairs import score_pairs
from eval.voe.surprise.windows import widest_plan
from eval.voe.trials import Trial
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
Indices = NDArray[np.int64]
CONTEXTS, OUTCOMES, REMEMBERED, PREDICTED = "contexts encoded", "outcomes encoded", "remembered", "predicted"
MIN_CONTRAST = 1e-3  # a smaller contrast, relative to that of the ground truth, counts as undecided
StageScores = dict[str, float]
"""By stage and source, the fraction of one or two answers that are right. 1/2: undecided. NaN: not
applicable."""


def evaluate_trials(
    trials: Sequence[Trial],
    clips: Mapping[str, Clip],
    nets: Mapping[str, WorldModel],
    probes: Mapping[str, LinearProbe],
    device: torch.device,
) -> list[StageScores]:
    """Scores of each trial. Trials are spliced quadruplets with full occlusion.

    clips: of the suite, by id. probes: of object maps, by network.
    """
    model = nets[MODEL]
    f = model.tubelet_size
    possible = [clips[video.video_id] for trial in trials for video in trial.videos if video.label]
    steps = min(clip.frames_at(model.fps) for clip in possible) // f
    frames = torch.from_numpy(read_clips(possible, model.fps, model.size_px, steps * f, [0] * len(possible))).to(device)
    maps = np.stack([maps_of_clip(clip, steps, model) for clip in possible])
    contexts = [locked_contexts(trial, steps, model) for trial in trials]
    forecast_steps = {context: ahead for some in contexts for context, ahead in some.items()}
    latents = {name: encode_clips(net, frames, forecast_steps) for name, net in nets.items()}
    latents[PIXELS] = pixel_latents(frames, f, list(forecast_steps))
    found = []
    for index, (trial, some) in enumerate(zip(trials, contexts, strict=True)):
        assert trial.occluded_frames is not None
        assert trial.reveal_frame is not None
        both = np.array([2 * index, 2 * index + 1])
        hidden, reveal = (
            step_of(frame, trial.videos[0].fps, model) for frame in (trial.occluded_frames[0], trial.reveal_frame)
        )
        scored_steps = {
            context: np.arange(max(context, reveal), context + forecast_steps[context])
            for context in some
            if context + forecast_steps[context] > reveal
        }
        scores: StageScores = {}
        for name, it in latents.items():
            scores |= encoded_scores(name, it, probes[name], both, maps[both], hidden, reveal)
            scores |= predicted_scores(name, it, probes[name], both, maps[both], scored_steps)
        found.append(scores)
    return found


def encoded_scores(
    name: str, latents: ClipLatents, probe: LinearProbe, both: Indices, maps: Values, hidden: int, reveal: int
) -> StageScores:
    """Scores of target latents before step `hidden`, at which all is occluded, and from step
    `reveal` on, at which the outcomes differ.

    both: indices of the two clips; maps [2, S, M]: their true object maps.
    """
    predicted = probe_each_step(probe, latents.target[both])
    return {
        f"{CONTEXTS}, {name}": fraction_nearer(predicted[:, :hidden], maps[:, :hidden]),
        f"{OUTCOMES}, {name}": fraction_nearer(predicted[:, reveal:], maps[:, reveal:]),
    }


def predicted_scores(
    name: str,
    latents: ClipLatents,
    probe: LinearProbe,
    both: Indices,
    maps: Values,
    scored_steps: Mapping[int, Indices],
) -> StageScores:
    """Scores of forecasts and of the copy-last baseline. scored_steps: by context length, the steps that
    are scored."""
    sources = [copy_of(name), *([forecast_of(name)] if latents.forecast else [])]
    if not scored_steps:
        return {f"{stage}, {source}": np.nan for stage in (REMEMBERED, PREDICTED) for source in sources}
    truth = np.concatenate([maps[:, steps] for steps in scored_steps.values()], axis=1)
    copies = [
        probe_each_step(probe, latents.context_end(context, 1)[both]).repeat(len(steps), axis=1)
        for context, steps in scored_steps.items()
    ]
    predictions = [np.concatenate(copies, axis=1)]
    if latents.forecast:
        forecasts = [
            probe_each_step(probe, latents.forecast[context][both][:, steps - context])
            for context, steps in scored_steps.items()
        ]
        predictions.append(np.concatenate(forecasts, axis=1))
    found = {}
    for source, predicted in zip(sources, predictions, strict=True):
        found[f"{REMEMBERED}, {source}"] = right_direction(predicted, truth)
        found[f"{PREDICTED}, {source}"] = fraction_nearer(predicted, truth)
    return found


def probe_each_step(probe: LinearProbe, latents: Values) -> Values:
    """Apply the probe to each latent step by itself: [F, T, N, D] -> [F, T, M]."""
    return probe(latents.reshape(-1, *latents.shape[2:])).reshape(*latents.shape[:2], -1)


def fraction_nearer(predicted: Values, truth: Values) -> float:
    """The fraction of two videos whose prediction is nearer to their own ground truth than to the other's:
    [2, T, M] twice."""
    found = np.array([side(predicted[i], truth[i], truth[1 - i]) for i in (0, 1)])
    return float(score_pairs(np.zeros(2), found).mean())


def right_direction(predicted: Values, truth: Values) -> float:
    """Whether the predictions of two videos differ in the same direction as their ground truths:
    [2, T, M] twice."""
    value = contrast(predicted, truth)
    if np.isnan(value):
        return np.nan
    return 0.5 if abs(value) < MIN_CONTRAST else float(value > 0)


def locked_contexts(trial: Trial, steps: int, model: WorldModel) -> dict[int, int]:
    """The trial's locked windows, as in `eval voe`: number of forecast steps by context length, in
    latent steps."""
    f = model.tubelet_size
    windows = widest_plan(model).locked(trial.locked_cuts, trial.videos[0].fps, steps * f)
    return {window.cut // f: window.steps for window in windows if window.cut % f == 0}


def step_of(frame: int, fps: float, model: WorldModel) -> int:
    """The first latent step whose last frame is shown at or after a frame of the video."""
    f = model.tubelet_size
    return max(0, int(np.ceil((frame / fps * model.fps - f + 1) / f - 1e-6)))
