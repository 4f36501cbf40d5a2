"""The reference distribution of a model, computed from calibration videos and cached."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from eval.cache.cache_lock import cache_lock
from eval.cache.keys import digest_of
from eval.plausibility.batches import BatchedInference
from eval.plausibility.reference_distribution import DISTANCE, FOLDS, WHITENED, CalibrationVideo, ReferenceDistribution
from eval.plausibility.sliding_windows import Distance, WindowSurprise
from eval.precision import stored_with
from eval.result_folder import read_json
from eval.voe.surprise.whitening import Whitening
from worldmodel.files.atomic import write_json
from worldmodel.manifest import Clip
from worldmodel.ranks.launch import run_on_main_process
from worldmodel.video.container.source import shown_name

FORMAT = 2
UNREADABLE = "unreadable.json"  # indices of the clips that could not be evaluated
MAX_SEGMENTS = 400  # of all calibration videos together, so that a few long videos give as many as many short ones


@dataclass(frozen=True)
class Reference:
    """A reference distribution and the distances that it was computed with."""

    distribution: ReferenceDistribution
    distance: Distance  # of the model
    whitenings: Sequence[Whitening]  # one per fold; empty if errors are not whitened
    key: str  # digest of everything that determines it
    why_not_whitened: str  # empty if errors are whitened
    unreadable: dict[str, str]  # calibration videos that could not be evaluated, with the reason

    @property
    def distances(self) -> dict[str, Distance]:
        """Distances by which a new video is evaluated: "latent distance", and "whitened FOLD" for each fold."""
        whitened = {f"{WHITENED} {fold}": whitened_distance(fit) for fold, fit in enumerate(self.whitenings)}
        return {DISTANCE: self.distance, **whitened}


def build_reference(inference: BatchedInference, weights_hash: str, clips: Sequence[Clip], cache: Path) -> Reference:
    """The reference distribution of a model on calibration clips, from the cache if it was computed before.

    Files are assigned to two folds in turn. The errors of each fold are whitened by those of the other fold.
    """
    key = _key(inference, weights_hash, clips)
    folder = cache / "plausibility_reference" / key
    max_segments = max(1, MAX_SEGMENTS // max(1, len(clips)))
    with cache_lock(folder, "calibration videos", inference.ranks):
        run_on_main_process(inference.ranks, lambda: _discard_outdated(inference, clips, folder, max_segments))
        return _build(inference, key, clips, folder, max_segments)


def _discard_outdated(inference: BatchedInference, clips: Sequence[Clip], folder: Path, max_segments: int) -> None:
    """Delete all files if a clip that could not be read before can be read now, because all of them depend on it."""
    if not (folder / UNREADABLE).exists():
        return
    indices = (read_json(folder / UNREADABLE) or {}).get("clips")
    if not isinstance(indices, list) or any(inference.is_readable(clips[index], max_segments) for index in indices):
        shutil.rmtree(folder)


def _build(inference: BatchedInference, key: str, clips: Sequence[Clip], folder: Path, max_segments: int) -> Reference:
    """Compute a reference, or read it from `folder`, which no other process writes to in the meantime."""
    names = list(dict.fromkeys(video_name(clip) for clip in clips))
    folds = [[clip for clip in clips if names.index(video_name(clip)) % FOLDS == fold] for fold in range(FOLDS)]
    whitenings, why_not_whitened = _fit_whitenings(inference, folds, folder, max_segments)
    videos, unreadable, left_out = [], {}, []
    for fold, members in enumerate(folds):
        distances: dict[str, Distance] = {DISTANCE: inference.model.distance}
        if whitenings:
            distances[WHITENED] = whitened_distance(whitenings[fold])
        title = f"calibration videos, fold {fold + 1} of {FOLDS}"
        results = inference.surprise(title, members, distances, folder / f"fold_{fold}", max_segments=max_segments)
        for clip, result in zip(members, results, strict=True):
            if isinstance(result, WindowSurprise):
                videos.append(CalibrationVideo(video_name(clip), fold, result))
            else:
                unreadable[video_name(clip)] = result
                left_out.append(clips.index(clip))
    if left_out and inference.ranks.is_main_process:
        write_json(folder / UNREADABLE, {"clips": left_out})
    distribution = ReferenceDistribution(videos, inference.plan)
    return Reference(distribution, inference.model.distance, whitenings, key, why_not_whitened, unreadable)


def video_name(clip: Clip) -> str:
    return shown_name(clip.path, clip.member)


def whitened_distance(fit: Whitening) -> Distance:
    return lambda forecast, target: fit.surprise(forecast - target)


def _fit_whitenings(
    inference: BatchedInference, folds: Sequence[Sequence[Clip]], folder: Path, max_segments: int
) -> tuple[list[Whitening], str]:
    """The whitening of each fold, fitted on the errors of the other. Empty, with the reason, if there are too few videos."""
    whitenings = []
    for fold in range(FOLDS):
        others = [clip for other, clips in enumerate(folds) if other != fold for clip in clips]
        title = f"forecast errors, fold {FOLDS - fold} of {FOLDS}"
        moments = inference.error_moments(title, others, folder / f"others_{fold}", max_segments)
        if moments is None:
            return [], "no calibration video of one fold can be read"
        try:
            whitenings.append(Whitening.fit(moments))
        except ValueError as error:
            return [], f"{error}; only half of the calibration videos can be used for the fit of each fold"
    return whitenings, ""


def _key(inference: BatchedInference, weights_hash: str, clips: Sequence[Clip]) -> str:
    """16 hex digits of everything that determines the results.

    Clips count by their content, wherever they are stored. Missing files change the key, so that they are used once they
    are back.
    """
    inputs = {
        "format": FORMAT,
        "weights": weights_hash,
        "plan": asdict(inference.plan),
        "geometry": inference.geometry,
        "clips": [
            [clip.clip_id, clip.start_s, clip.frames, clip.fps, os.path.exists(clip.path), *([clip.crop] if clip.crop else [])]
            for clip in clips
        ],
        "max_segments": MAX_SEGMENTS,
        "torch": torch.__version__,
        **stored_with(inference.precision),
    }
    return digest_of(inputs)
