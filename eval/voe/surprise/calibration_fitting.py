"""Calibrate a model on possible videos, in pieces that are distributed over ranks."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from eval.cache.sealed import LEFT_OUT
from eval.errors import EvalError
from eval.precision import stored_with
from eval.result_folder import read_result
from eval.resumable_work import compute_pieces
from eval.voe.scorers import MODEL, Fit
from eval.voe.surprise.calibration import (
    Calibration,
    SlopeSums,
    fit_whitenings,
    load_slope_sums,
    save_slope_sums,
)
from eval.voe.surprise.forecasting import MASKED_IN_LOCKED
from eval.voe.surprise.scoring import SurpriseScorer
from eval.voe.surprise.task import VoeTask
from eval.voe.surprise.video_batches import VideoBatch
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments, load_moments, merge_moments, save_moments
from eval.voe.surprise.windows import WindowKind
from eval.voe.trials import Video
from worldmodel.files.atomic import write_json
from worldmodel.models.weights_hash import weights_hash

VIDEOS_AT_ONCE = 25
SLOPE_VIDEOS = 100  # calibration videos that the slope of the control variate is fitted on
KINDS: tuple[WindowKind, ...] = ("locked", "sliding")


def calibrate(
    task: VoeTask, what: str, scorer: SurpriseScorer, parts: Path, videos: Sequence[Video], ablation: Sequence[int]
) -> Calibration:
    """The calibration of a scorer's model on possible videos.

    what: name of the work for the progress bar. ablation: fit to this many videos, too. A
    calibration on a run's own val split is stored in the run folder, and is read from there if
    those videos are missing. Raises EvalError if the videos that can be read are too short for
    the horizon.
    """
    if len(videos) < 2:
        return Calibration()
    if task.only_stored_calibrations:
        return find_stored(task, scorer, videos, ablation) or Calibration()
    calibration = _fit(task, what, scorer, parts, videos, ablation)
    if task.stored is not None and task.ranks.is_main_process:
        task.stored.store(_inputs(task, scorer, videos, ablation), calibration)
    return calibration


def find_stored(task: VoeTask, scorer: SurpriseScorer, videos: Sequence[Video], ablation: Sequence[int]) -> Calibration | None:
    """The calibration in the run folder for exactly these inputs, if any."""
    return None if task.stored is None else task.stored.find(_inputs(task, scorer, videos, ablation))


def _inputs(task: VoeTask, scorer: SurpriseScorer, videos: Sequence[Video], ablation: Sequence[int]) -> dict[str, Any]:
    """Everything that determines a calibration."""
    assert isinstance(scorer.model, torch.nn.Module)
    return {
        "weights": weights_hash(scorer.model),
        "plan": asdict(task.plan),
        "scope": task.scope,
        "size_px": task.size_px,
        "geometry": task.geometry,
        "locked": task.has_locked,
        "forecasters": {kind: list(names) for kind, names in scorer.forecasters.items()},
        "ablation": list(ablation),
        "videos": [video.as_key() for video in videos],
        **stored_with(task.subject.precision),
    }


def _fit(
    task: VoeTask, what: str, scorer: SurpriseScorer, parts: Path, videos: Sequence[Video], ablation: Sequence[int]
) -> Calibration:
    """Fit covariances, then the slope of the control variate where the suite has locked windows."""
    chunks = [tuple(videos[first : first + VIDEOS_AT_ONCE]) for first in range(0, len(videos), VIDEOS_AT_ONCE)]

    def load(some: Sequence[Video]) -> VideoBatch:
        return task.reader.read((video, task.plan.for_calibration) for video in some)

    def work(batch: VideoBatch, file: Path) -> None:
        found: dict[ErrorKey, ErrorMoments] = {}
        for group in batch.groups:
            merge_moments(found, scorer.error_moments(group))
        write_json(file.with_suffix(LEFT_OUT), batch.unread)
        save_moments(file, found)

    files = compute_pieces(what, chunks, lambda i: parts / f"calibration_{i:05d}.npz", load, work, task.ranks)
    notes = left_out_note([file.with_suffix(LEFT_OUT) for file in files], len(videos))
    moments = _sum_moments(files, ablation)
    if all(it.videos < 2 for key, it in moments.items() if key.fit.videos is None):
        return Calibration(notes=notes)
    try:
        calibration = Calibration(fit_whitenings(moments), notes=notes)
    except ValueError as error:
        advice = "give others with --calibration MANIFEST, or a shorter --horizon and --fresh"
        raise EvalError(f"{' '.join(notes)} {error}; {advice}".strip()) from None
    if not task.has_locked:
        return calibration
    with_control = replace(scorer, forecasters=MASKED_IN_LOCKED)

    def sum_slope(batch: VideoBatch, file: Path) -> None:
        save_slope_sums(file, sum((with_control.slope_sums(group, calibration) for group in batch.groups), SlopeSums()))

    first = chunks[: -(-SLOPE_VIDEOS // VIDEOS_AT_ONCE)]
    sums = compute_pieces(f"{what}, second pass", first, lambda i: parts / f"slope_{i:05d}.json", load, sum_slope, task.ranks)
    return replace(calibration, control_slope=load_slope_sums(sums).slope)


def _sum_moments(files: Sequence[Path], ablation: Sequence[int]) -> dict[ErrorKey, ErrorMoments]:
    """Sum the moments of all files, with copies of the sums after `ablation` videos.

    Files are added in order, so that the first n videos are the same on any number of ranks.
    """
    total: dict[ErrorKey, ErrorMoments] = {}
    fewer: dict[ErrorKey, ErrorMoments] = {}
    for file in files:
        merge_moments(total, load_moments(file))
        for kind in KINDS:
            if (own := total.get(ErrorKey(kind, MODEL))) is not None and own.videos in ablation:
                fewer[ErrorKey(kind, MODEL, Fit(videos=own.videos))] = deepcopy(own)
    return total | fewer


def left_out_note(files: Sequence[Path], count: int) -> tuple[str, ...]:
    """A note on the calibration videos, of `count`, that could not be used; none where all could."""
    left_out: dict[str, str] = {}
    for file in files:
        if file.exists():  # a cache folder of an earlier version lacks it
            left_out |= read_result(file)
    if not left_out:
        return ()
    name, reason = next(iter(left_out.items()))
    return (f"{len(left_out)} of {count} possible videos were left out of the calibration, such as {name}: {reason}.",)
