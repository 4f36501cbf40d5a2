"""Quadruplets are asked: do latents, and do forecasts, tell their two contexts and their two outcomes apart?

Two of a quadruplet's films are enough, the possible ones (a, u) and (b, v): they hold both contexts and both outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from eval.probes.clips import frames_in, read_clips
from eval.probes.gathering import MODEL, PIXELS
from eval.probes.linear import LinearProbe
from eval.probes.object_maps import contrast, maps_of, side
from eval.probes.recordings import Recording, record, record_pixels
from eval.voe.pairs import compare
from eval.voe.surprise.windows import widest
from eval.voe.trials import Trial
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
Steps = NDArray[np.int64]
CONTEXTS, OUTCOMES, REMEMBERED, PREDICTED = "contexts encoded", "outcomes encoded", "remembered", "predicted"
UNDECIDED = 1e-3  # a contrast of less than a thousandth of the true one is none
Answers = dict[str, float]
"""By stage and source, the share that is right: of two answers, or one; 1/2 undecided, NaN not asked."""


def ask(
    trials: Sequence[Trial],
    clips: Mapping[str, Clip],
    nets: Mapping[str, WorldModel],
    probes: Mapping[str, LinearProbe],
    device: torch.device,
) -> list[Answers]:
    """Of each trial; trials are spliced quadruplets with full occlusion. `probes`: to object maps, by network."""
    model = nets[MODEL]
    f = model.tubelet_size
    films = [clips[film.film_id] for trial in trials for film in trial.films if film.label]
    steps = min(frames_in(clip, model.fps) for clip in films) // f
    frames = torch.from_numpy(read_clips(films, model.fps, model.size_px, steps * f, [0] * len(films))).to(device)
    maps = np.stack([maps_of(clip, steps, model) for clip in films])
    cuts = [locked_cuts(trial, steps, model) for trial in trials]
    reach = {cut: ahead for some in cuts for cut, ahead in some.items()}
    recordings = {name: record(net, frames, reach) for name, net in nets.items()}
    recordings[PIXELS] = record_pixels(frames, f, list(reach))
    found = []
    for place, (trial, some) in enumerate(zip(trials, cuts, strict=True)):
        assert trial.occlusion is not None
        assert trial.reveal is not None
        both = np.array([2 * place, 2 * place + 1])
        hidden, reveal = (step_of(frame, trial.films[0].fps, model) for frame in (trial.occlusion[0], trial.reveal))
        ahead = {cut: np.arange(max(cut, reveal), cut + reach[cut]) for cut in some if cut + reach[cut] > reveal}
        answers: Answers = {}
        for name, recording in recordings.items():
            answers |= encoded(name, recording, probes[name], both, maps[both], hidden, reveal)
            answers |= predicted(name, recording, probes[name], both, maps[both], ahead)
        found.append(answers)
    return found


def encoded(
    name: str, recording: Recording, probe: LinearProbe, both: Steps, maps: Values, hidden: int, reveal: int
) -> Answers:
    """From latents of what came, before the step at which all is hidden and from that at which outcomes differ.

    `both`: the two films in the recording; `maps` [2, S, M]: what they truly show.
    """
    reading = read_each(probe, recording.target[both])
    return {
        f"{CONTEXTS}, {name}": sides(reading[:, :hidden], maps[:, :hidden]),
        f"{OUTCOMES}, {name}": sides(reading[:, reveal:], maps[:, reveal:]),
    }


def predicted(
    name: str, recording: Recording, probe: LinearProbe, both: Steps, maps: Values, ahead: Mapping[int, Steps]
) -> Answers:
    """From forecasts, and from the context's last latent. `ahead`: by cut, the steps asked about."""
    sources = [f"{name}: copy", *([f"{name}: forecast"] if recording.ahead else [])]
    if not ahead:
        return {f"{stage}, {source}": np.nan for stage in (REMEMBERED, PREDICTED) for source in sources}
    truth = np.concatenate([maps[:, steps] for steps in ahead.values()], axis=1)
    copies = [read_each(probe, recording.copy(cut, 1)[both]).repeat(len(steps), axis=1) for cut, steps in ahead.items()]
    readings = [np.concatenate(copies, axis=1)]
    if recording.ahead:
        told = [read_each(probe, recording.ahead[cut][both][:, steps - cut]) for cut, steps in ahead.items()]
        readings.append(np.concatenate(told, axis=1))
    found = {}
    for source, reading in zip(sources, readings, strict=True):
        found[f"{REMEMBERED}, {source}"] = told_apart(reading, truth)
        found[f"{PREDICTED}, {source}"] = sides(reading, truth)
    return found


def read_each(probe: LinearProbe, latents: Values) -> Values:
    """Each latent by itself: [F, T, N, D] -> [F, T, M]."""
    return probe(latents.reshape(-1, *latents.shape[2:])).reshape(*latents.shape[:2], -1)


def sides(reading: Values, truth: Values) -> float:
    """[2, T, M] twice: the share of two films whose reading is on the side of its own truth."""
    found = np.array([side(reading[i], truth[i], truth[1 - i]) for i in (0, 1)])
    return float(compare(np.zeros(2), found).mean())


def told_apart(reading: Values, truth: Values) -> float:
    """[2, T, M] twice: do two films' readings differ in the direction in which their truths do?"""
    it = contrast(reading, truth)
    return np.nan if np.isnan(it) else 0.5 if abs(it) < UNDECIDED else float(it > 0)


def locked_cuts(trial: Trial, steps: int, model: WorldModel) -> dict[int, int]:
    """Of the trial's locked windows, those of `eval physics`: the latent steps forecast, by those that were before."""
    f = model.tubelet_size
    windows = widest(model).locked(trial.locked, trial.films[0].fps, steps * f)
    return {window.cut // f: window.steps for window in windows if window.cut % f == 0}


def step_of(frame: int, fps: float, model: WorldModel) -> int:
    """The first latent step whose last frame is shown at or after a frame of the film."""
    f = model.tubelet_size
    return max(0, int(np.ceil((frame / fps * model.fps - f + 1) / f - 1e-6)))
