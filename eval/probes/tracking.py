"""Tracking of occluded bodies (object permanence): where does the model predict a body that is not
visible?

A probe of position is fitted on frames in which the body is visible. It reads forecasts of frames
in which none of the body's pixels show. The context ends when the body was last visible. Errors are
in apparent widths of the body.

Baselines from the ground truth: the last seen position, and constant velocity. Two further baselines
do not use the body: the mean position of occluded bodies in other clips, and the centre of the
occluders in the current picture. A source that is no better than these two encodes where bodies
are often hidden, not where this body is. The same probe also reads the context's last latents, the
target latents (of pictures in which the body is hidden), an untrained network and raw pixels.

Copying is correct for bodies at rest. Bodies that moved when last seen are therefore a separate
group; the groups depend on the context only. Where a latent depends on its own frames alone, a picture with
the body hidden contains nothing of the body, and a perfect forecast of that latent contains nothing
either. Whether such a model remembers the body is visible in its forecasts of the frames after
the reveal (eval.probes.quadruplets.failures).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.physics.rendered_video import OCCLUDER_ID
from eval.intervals import bootstrap_of_sums
from eval.probes.constant_velocity import CONSTANT_VELOCITY, MIN_VISIBLE_STEPS, extrapolate, last_seen_position
from eval.probes.dataset import ProbeData, collect_latents
from eval.probes.evaluation import copy_of, forecast_of, target_of
from eval.probes.fitting.cross_fitting import CrossFittedProbe, group_folds
from eval.probes.ground_truth import read_segmentation
from eval.probes.latents import ClipLatents
from eval.probes.results import ScoreJson, Tracking
from worldmodel.models.world_model import WorldModel

Values = NDArray[np.floating]
MIN_HIDDEN_STEPS = 2
MOVING_WIDTHS_S = 1.0  # a body slower than this when last seen counts as at rest
LAST_SEEN = "last seen position"
OTHER_CLIPS, OCCLUDER = "mean position in other videos", "centre of the occluders"
GROUPS = ("moving when last seen", "at rest when last seen", "all")


@dataclass(frozen=True)
class Occlusion:
    """A body is in the picture and none of its pixels show during the latent steps [context,
    context + steps)."""

    clip: int
    context: int
    steps: int
    moving: bool  # when last seen


def find_occlusions(data: ProbeData) -> list[Occlusion]:
    """The first occlusion of each clip that lasts MIN_HIDDEN_STEPS and begins after the body was
    visible for long enough to know its velocity."""
    truth, found = data.truth, []
    centre, visible = truth.body_track()
    any_visible, hidden = visibility(data)
    for clip, own in enumerate(truth.clips):
        for context, steps in _runs(hidden[clip]):
            if steps >= MIN_HIDDEN_STEPS and visible[clip, :context].sum() >= MIN_VISIBLE_STEPS:
                _, per_step = extrapolate(centre[None, clip, :context], any_visible[None, clip, :context], 1)
                width = own.width_px[truth.frames[clip][context - 1], own.body]
                speed_widths_s = float(np.linalg.norm(per_step) / width / truth.step_s)
                found.append(Occlusion(clip, context, steps, speed_widths_s >= MOVING_WIDTHS_S))
                break
    return found


def visibility(data: ProbeData) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether any pixel of the body shows at the end of a step, and whether none does in the whole
    step: [F, S] twice."""
    truth = data.truth
    any_visible, hidden = np.zeros((2, len(truth.clips), truth.steps), bool)
    for clip, (own, frames) in enumerate(zip(truth.clips, truth.frames, strict=True)):
        if own.body is not None:
            in_picture, occluded = own.in_picture[:, own.body], own.occluded[:, own.body]
            any_visible[clip] = (in_picture & ~occluded)[frames]
            begins = np.minimum(np.concatenate([[0], frames[:-1] + 1]), frames)
            hidden[clip] = [occluded[first : last + 1].all() for first, last in zip(begins, frames, strict=True)]
    return any_visible, hidden


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, length) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(start), int(stop - start)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def track(
    data: ProbeData, nets: Mapping[str, WorldModel], probes: Mapping[str, CrossFittedProbe], device: torch.device
) -> Tracking | None:
    """Errors by group, source and seconds hidden; None where no body is ever occluded.

    probes: of position from one latent step, by network; each clip is read by a probe fitted on
    other clips.
    """
    by_context: dict[int, list[Occlusion]] = defaultdict(list)
    for occlusion in find_occlusions(data):
        by_context[occlusion.context].append(occlusion)
    groups = [by_context[context] for context in sorted(by_context)]
    occlusions = [it for group in groups for it in group]
    if not occlusions:
        return None
    requests = [([data.clips[it.clip] for it in group], {group[0].context: max(it.steps for it in group)}) for group in groups]
    latents = collect_latents("occlusions", nets, requests, data.frames, device)
    longest = max(it.steps for it in occlusions)
    parts = [_positions(data, group, it, probes, longest) for group, it in zip(groups, latents, strict=True)]
    positions = {source: np.concatenate([part[source] for part in parts]) for source in parts[0]}
    true, widths = (np.stack(some) for some in zip(*(_hidden_body(data, it, longest) for it in occlusions), strict=True))
    fold = group_folds(np.array([it.clip for it in occlusions]), data.truth.folds)
    positions[OTHER_CLIPS] = np.stack([_mean_position(true[fold != own]) for own in fold])
    positions[OCCLUDER] = np.stack([_occluder_centre(data, it, longest) for it in occlusions])
    errors = {source: np.linalg.norm(some - true, axis=2) / widths for source, some in positions.items()}
    moving = np.array([it.moving for it in occlusions])
    chosen = {GROUPS[0]: moving, GROUPS[1]: ~moving, GROUPS[2]: np.ones(len(moving), bool)}
    times = [f"{(step + 1) * data.truth.step_s:.3g}" for step in range(longest)]
    return {
        name: {source: _error_by_time(error[rows], times) for source, error in errors.items()}
        for name, rows in chosen.items()
        if rows.any()
    }


def _hidden_body(data: ProbeData, occlusion: Occlusion, longest: int) -> tuple[Values, Values]:
    """True position [longest, 2] and width [longest] in px at each hidden step; NaN after the
    occlusion ends."""
    truth, frames = data.truth.clips[occlusion.clip], data.truth.frames[occlusion.clip]
    position, width = np.full((longest, 2), np.nan), np.full(longest, np.nan)
    hidden = frames[occlusion.context : occlusion.context + occlusion.steps]
    position[: occlusion.steps] = truth.centre_px[hidden, truth.body]
    width[: occlusion.steps] = truth.width_px[hidden, truth.body]
    return position, width


def _positions(
    data: ProbeData,
    group: Sequence[Occlusion],
    latents: Mapping[str, ClipLatents],
    probes: Mapping[str, CrossFittedProbe],
    longest: int,
) -> dict[str, Values]:
    """Positions by source, for occlusions with one context length: [R, longest, 2] px, NaN after
    the longest of them."""
    context = group[0].context
    clip, row = np.array([it.clip for it in group]), np.arange(len(group))
    centre, any_visible = data.truth.body_track()[0][clip], visibility(data)[0][clip]
    positions: dict[str, list[Values]] = defaultdict(list)
    for horizon in range(1, max(it.steps for it in group) + 1):
        positions[LAST_SEEN].append(last_seen_position(centre[:, :context], any_visible[:, :context]))
        positions[CONSTANT_VELOCITY].append(extrapolate(centre[:, :context], any_visible[:, :context], horizon)[0])
        for name, it in latents.items():
            probe = probes[name]
            if it.forecast:
                positions[forecast_of(name)].append(probe(it.forecast_at(context, horizon, 1), clip))
            positions[copy_of(name)].append(probe(it.context_end(context, 1), clip))
            step = np.full(len(clip), context - 1 + horizon)
            positions[target_of(name)].append(probe(it.target_at(row, step, 1), clip))
    beyond = ((0, 0), (0, longest - len(positions[LAST_SEEN])), (0, 0))
    return {name: np.pad(np.stack(some, axis=1), beyond, constant_values=np.nan) for name, some in positions.items()}


def _mean_position(true: Values) -> Values:
    """Mean over clips: [R, longest, 2] -> [longest, 2].

    Steps that no occlusion reaches get the mean over all steps; NaN where there is no clip.
    """
    known = np.asarray(np.isfinite(true).all(2))
    total, count = np.where(known[..., None], true, 0).sum(0), known.sum(0)[:, None]
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), total.sum(0) / count.sum())


def _occluder_centre(data: ProbeData, occlusion: Occlusion, longest: int) -> Values:
    """Mean position of all pixels of occluders at each hidden step: [longest, 2] px."""
    clip, found = data.clips[occlusion.clip], np.full((longest, 2), np.nan)
    assert clip.truth is not None
    segmentation = read_segmentation(clip.truth)
    for step in range(occlusion.steps):
        y, x = np.nonzero(segmentation[data.truth.frames[occlusion.clip][occlusion.context + step]] == OCCLUDER_ID)
        found[step] = (x.mean() + 0.5, y.mean() + 0.5) if len(x) else np.nan
    return found


def _error_by_time(error: Values, times: Sequence[str]) -> dict[str, ScoreJson]:
    """By seconds hidden: mean error in widths over the occlusions that last so long, with its
    interval over clips."""
    found: dict[str, ScoreJson] = {}
    for step, time in enumerate(times):
        values = error[np.isfinite(error[:, step]), step]
        if len(values) >= 2:
            sums = np.stack([np.ones(len(values)), values], axis=1)
            value, low, high = bootstrap_of_sums(sums, lambda total: total[..., 1] / total[..., 0])
            found[time] = {"value": value, "low": low, "high": high, "n": len(values)}
    return found
