"""The reference distribution of `eval plausibility` in the run folder, for use when the run's val split is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from numpy.typing import NDArray

from eval.cache import run_folder
from eval.errors import EvalError
from eval.plausibility.reference_distribution import CalibrationVideo, ReferenceDistribution
from eval.plausibility.reference_videos import FORMAT, Reference
from eval.plausibility.sliding_windows import WindowSurprise, from_arrays, to_arrays
from eval.precision import stored_with
from eval.subject import Subject
from eval.voe.surprise.whitening import Whitening
from eval.voe.surprise.windows import WindowPlan
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel
from worldmodel.process.terminal import print_escaped
from worldmodel.video.geometry import Geometry

KIND = "plausibility"
FIT = "whitening/"  # prefix of the names of arrays


def store_reference(
    folder: Path, reference: Reference, subject: Subject, geometry: Geometry, clips: Sequence[Clip], manifest: str
) -> None:
    """Write FOLDER/plausibility-KEY.npz, unless it exists or the folder cannot be written to.

    A distribution is not stored if some of its videos could not be read.
    """
    videos = reference.distribution.videos
    if reference.unreadable or not videos:
        return
    about = {
        "format": FORMAT,
        "weights": subject.hash,
        "plan": asdict(reference.distribution.plan),
        "geometry": geometry,
        "key": reference.key,
        "why_not_whitened": reference.why_not_whitened,
        "manifest": manifest,
        "clips": [asdict(clip) for clip in clips],
        "videos": [[video.name, video.fold] for video in videos],
        "whitenings": [fit.numbers for fit in reference.whitenings],
        "torch": torch.__version__,
        **stored_with(subject.precision),
    }
    arrays = to_arrays([video.result for video in videos])
    for index, fit in enumerate(reference.whitenings):
        arrays |= {f"{FIT}{index}/{name}": array for name, array in fit.arrays.items()}
    run_folder.store(folder / f"{KIND}-{reference.key}.npz", about, arrays)


def load_reference(
    folder: Path, subject: Subject, geometry: Geometry, plan_of: Callable[[Sequence[Clip]], WindowPlan]
) -> tuple[Reference, str] | None:
    """The newest stored reference of these weights, this geometry and this plan, with its manifest; None if there is none."""
    assert subject.model is not None
    for stored in run_folder.load_all(folder, KIND):
        about = stored.about
        if (about.get("format"), about.get("weights"), about.get("geometry")) != (FORMAT, subject.hash, geometry):
            continue
        if about.get("precision", "fp32") != subject.precision:
            continue
        try:
            plan, clips, manifest = _plan(stored), stored.clips, str(about["manifest"])
        except (EvalError, KeyError, TypeError, ValueError) as error:
            print_escaped(f"{folder}: a stored reference is ignored: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        if plan_of(clips) == plan:
            return _reference(stored, plan, subject.model), manifest
    return None


def _plan(stored: run_folder.StoredResult) -> WindowPlan:
    plan = stored.about["plan"]
    return WindowPlan(**{**plan, "contexts": tuple(plan["contexts"])})


def _reference(stored: run_folder.StoredResult, plan: WindowPlan, model: WorldModel) -> Reference:
    about = stored.about
    results = from_arrays({name: array for name, array in stored.arrays.items() if not name.startswith(FIT)})
    videos = [
        CalibrationVideo(name, fold, result)
        for (name, fold), result in zip(about["videos"], results, strict=True)
        if isinstance(result, WindowSurprise)
    ]
    whitenings = [
        Whitening.of_arrays(numbers, _below(stored.arrays, f"{FIT}{index}/"))
        for index, numbers in enumerate(about["whitenings"])
    ]
    distribution = ReferenceDistribution(videos, plan)
    return Reference(distribution, model.distance, whitenings, about["key"], about["why_not_whitened"], {})


def _below(arrays: Mapping[str, NDArray], prefix: str) -> dict[str, NDArray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
