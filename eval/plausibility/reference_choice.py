"""Choose the calibration videos of `eval plausibility`.

They are the given videos, else those of the run's val split, else those whose results are stored in the run folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from accelerate import PartialState

from eval.cache import run_folder
from eval.cache.cache_folder import cache_folder
from eval.errors import EvalError
from eval.plausibility.batches import BatchedInference
from eval.plausibility.reference_videos import Reference, build_reference
from eval.plausibility.stored_reference import KIND, load_reference, store_reference
from eval.subject import Subject
from eval.voe.surprise.calibration_videos import calibration_clips, run_data
from eval.voe.surprise.windows import WindowPlan
from worldmodel.manifest import Clip
from worldmodel.process.terminal import print_escaped
from worldmodel.video.geometry import Geometry

PlanOf = Callable[[Sequence[Clip]], WindowPlan]
"""The plan of windows, which may depend on the calibration clips."""


@dataclass(frozen=True)
class Choice:
    """A reference distribution, how it was computed, and the manifest of the calibration videos."""

    reference: Reference
    inference: BatchedInference
    manifest: str


def choose_reference(
    given: str | None, subject: Subject, plan_of: PlanOf, device: torch.device, ranks: PartialState, geometry: Geometry
) -> Choice:
    """The reference distribution of a subject, computed now or read from the cache.

    A distribution of a run's own val split is also stored in the run folder. given: a manifest, or None. Raises EvalError if
    there are neither videos nor a stored distribution.
    """
    model, folder = subject.model, None if given else run_folder.folder_of(subject)
    assert model is not None
    manifest, clips = calibration_clips(given, None, subject)
    if manifest is not None and clips:
        inference = BatchedInference(model, plan_of(clips), device, ranks, geometry, subject.precision)
        reference = build_reference(inference, subject.hash, clips, cache_folder())
        if reference.distribution.videos:
            if folder is not None and ranks.is_main_process:
                store_reference(folder, reference, subject, geometry, clips, manifest)
            return Choice(reference, inference, manifest)
        name, reason = next(iter(reference.unreadable.items()))
        why = f"none of the {len(clips)} calibration videos of {manifest} can be used: {name}: {reason}"
    elif manifest is not None:
        why = f"{manifest} has no videos of split {'val or train' if given else 'val'} for calibration"
    else:
        missing = "; ".join(run_data(subject).missing) or f"{subject.name} has no training data of its own"
        why = f"there are no calibration videos: {missing}"
    stored = None if folder is None else load_reference(folder, subject, geometry, plan_of)
    if stored is None:
        other = folder is not None and any(folder.glob(f"{KIND}-*.npz"))
        mismatch = f" ({folder} holds results for other weights or another protocol)" if other else ""
        raise EvalError(f"{why}{mismatch}; give {'other' if manifest else 'some'} videos with --calibration MANIFEST")
    if ranks.is_main_process:
        print_escaped(f"eval plausibility: {why}; using the reference distribution stored in {folder}", file=sys.stderr)
    reference, manifest = stored
    inference = BatchedInference(model, reference.distribution.plan, device, ranks, geometry, subject.precision)
    return Choice(reference, inference, manifest)
