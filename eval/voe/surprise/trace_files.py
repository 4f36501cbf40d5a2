"""Traces of a model and of untrained networks of its architecture, one file per piece of the suite."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eval.cache.cache_folder import cache_folder
from eval.cache.cache_lock import cache_lock
from eval.cache.keys import digest_of
from eval.resumable_work import compute_pieces
from eval.subject import untrained_copy
from eval.voe.scorers import UNTRAINED, ScorerId
from eval.voe.surprise.calibration import Calibration
from eval.voe.surprise.calibration_fitting import calibrate, find_stored
from eval.voe.surprise.forecasting import ABLATIONS_IN_LOCKED, ALL_FORECASTERS, MASKED_IN_LOCKED, MODEL_AND_MASKED
from eval.voe.surprise.scoring import SurpriseScorer, pixel_traces
from eval.voe.surprise.task import VoeTask
from eval.voe.surprise.traces import TraceBlock, write_traces
from eval.voe.surprise.video_batches import VideoBatch
from eval.voe.trials import Video
from worldmodel.files.atomic import atomic_path

SHOWN = (ScorerId(), ScorerId(distance="whitened"), ScorerId(distance="adjusted"))  # of an untrained network


def write_model_traces(
    task: VoeTask, parts: Path, calibration_videos: Sequence[Video], ablation: Sequence[int] = ()
) -> tuple[list[Path], Calibration]:
    """Compute the traces of the subject. Returns one file in PARTS per piece, and the calibration.

    ablation: also whiten by fits to this many calibration videos, and token by token.
    """
    parts.mkdir(parents=True, exist_ok=True)
    model, files = task.subject.model, [parts / f"{index:05d}.parquet" for index in range(len(task.pieces))]
    if task.ranks.is_main_process:
        task.discard_outdated(parts, files, calibration_videos)
    task.ranks.wait_for_everyone()
    if model is None:

        def work_on_pixels(batch: VideoBatch, file: Path) -> None:
            batch.note_unread(file)
            write_traces(file, [block for group in batch.groups for block in pixel_traces(group, task.plan)])

        compute_pieces("videos", task.pieces, lambda i: files[i], task.read, work_on_pixels, task.ranks)
        return files, Calibration()
    forecasters = ABLATIONS_IN_LOCKED if task.has_locked else ALL_FORECASTERS
    scorer = SurpriseScorer(model, task.plan, task.device, task.scope, forecasters, bool(ablation))
    everywhere = replace(scorer, forecasters=ALL_FORECASTERS)  # so that each forecaster has errors at every horizon
    calibration = calibrate(task, "calibration videos", everywhere, parts, calibration_videos, ablation)

    def work(batch: VideoBatch, file: Path) -> None:
        blocks: list[TraceBlock] = []
        for group in batch.groups:
            blocks += [*scorer.traces(group, calibration), *pixel_traces(group, task.plan), *scorer.path_traces(group)]
        batch.note_unread(file)
        write_traces(file, blocks)

    compute_pieces("videos", task.pieces, lambda i: files[i], task.read, work, task.ranks)
    return files, calibration


def write_untrained_traces(task: VoeTask, seed: int, calibration_videos: Sequence[Video], parts: Path) -> list[Path]:
    """Compute the traces of an untrained copy of the subject. Returns one file in PARTS per piece.

    The files are copies of files in the cache, which other evaluations use as well. Another
    evaluation may replace the cached files once their lock is released, but not the copies.
    """
    like = task.subject.model
    assert like is not None
    network = untrained_copy(like, seed, task.device, task.subject.precision)
    scorer = SurpriseScorer(network, task.plan, task.device, task.scope, MASKED_IN_LOCKED)
    everywhere = replace(scorer, forecasters=MODEL_AND_MASKED)  # so that both have errors at every horizon
    if task.only_stored_calibrations and find_stored(task, everywhere, calibration_videos, ()) is None:
        calibration_videos = ()
    conditions = task.conditions(calibration_videos)
    key = digest_of({**like.architecture, **conditions})
    folder = cache_folder() / "untrained" / key / str(seed)
    what = f"untrained network {seed}"
    copies = [parts / f"untrained_{seed}_{index:05d}.parquet" for index in range(len(task.pieces))]
    with cache_lock(folder, what, task.ranks):
        files = _write_untrained_traces(task, scorer, everywhere, folder, seed, calibration_videos)
        if task.ranks.is_main_process:
            for file, copy in zip(files, copies, strict=True):
                with atomic_path(copy) as part:
                    shutil.copyfile(file, part)
    return copies


def _write_untrained_traces(
    task: VoeTask,
    scorer: SurpriseScorer,
    everywhere: SurpriseScorer,
    folder: Path,
    seed: int,
    calibration_videos: Sequence[Video],
) -> list[Path]:
    """Compute the traces in FOLDER, whose lock is held."""
    what = f"untrained network {seed}"
    files = [folder / f"{index:05d}.parquet" for index in range(len(task.pieces))]
    if task.ranks.is_main_process:
        task.discard_outdated(folder, files, calibration_videos)
    task.ranks.wait_for_everyone()
    done = all(file.exists() for file in files)
    calibration = (
        Calibration() if done else calibrate(task, f"{what}, calibration videos", everywhere, folder, calibration_videos, ())
    )

    def work(batch: VideoBatch, file: Path) -> None:
        blocks = [block for group in batch.groups for block in scorer.traces(group, calibration) if block.scorer in SHOWN]
        batch.note_unread(file)
        write_traces(file, [replace(it, scorer=ScorerId(UNTRAINED, it.scorer.distance, seed)) for it in blocks])

    return compute_pieces(what, task.pieces, lambda i: files[i], task.read, work, task.ranks)
